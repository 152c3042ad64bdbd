// What a front answers itself, in the form of the API.
import type { ErrorCode } from "../../wire/error-codes.ts";
import type { Refusal } from "./feed.ts";

export function refusalOf(status: number, code: ErrorCode, message: string): Refusal {
  const timestamp = new Date().toISOString();
  return { status, body: JSON.stringify({ status: "error", code, message, details: {}, timestamp }) };
}
