// A tenant, and what it does with models over HTTP.
import { expect } from "vitest";
import { type Answer, ask, newTenant } from "./gateway-support.ts";

export const SHIPPED = "glove-twitter-25d";
export const MODELS = "/v1/embedding-models";
export const BYTES = { "content-type": "application/octet-stream" };
export const PART = 4 * 1024 * 1024;

const hex = (bytes: ArrayBuffer): string =>
  [...new Uint8Array(bytes)].map((byte) => byte.toString(16).padStart(2, "0")).join("");

export const WORDS = "the 0.1 -0.6 0.3\nred 1.5 -0.4 0.2\ngreen 1.4 -0.5 0.3\nseven -0.3 -0.2 2\neight -0.2 -0.3 1.9\n";

/** A tenant, and what it does with models. */
export class Owner {
  readonly tenantId: string;
  readonly key: string;

  constructor({ tenantId, key }: { readonly tenantId: string; readonly key: string }) {
    this.tenantId = tenantId;
    this.key = key;
  }

  static async make(): Promise<Owner> {
    return new Owner(await newTenant());
  }

  ask(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Answer> {
    return ask(method, path, { key: this.key, ...(body !== undefined && { body }), headers });
  }

  async register(modelId: string, bytes: Uint8Array, more: object = {}): Promise<Answer> {
    const sha256 = hex(await crypto.subtle.digest("SHA-256", bytes));
    const files = [{ name: "words.txt", bytes: bytes.length, sha256 }];
    return this.ask("POST", MODELS, { modelId, licence: "CC0-1.0", source: "made for a test", files, ...more });
  }

  put(modelId: string, bytes: Uint8Array, query = "", file = "words.txt"): Promise<Answer> {
    const path = `${MODELS}/${modelId}/files/${file}${query}`;
    return ask("PUT", path, { key: this.key, raw: bytes, headers: BYTES });
  }

  change(modelId: string, body: object): Promise<Answer> {
    return this.ask("PATCH", `${MODELS}/${modelId}`, body);
  }

  async add(modelId: string, text = WORDS, more: object = {}): Promise<void> {
    const bytes = new TextEncoder().encode(text);
    const registered = await this.register(modelId, bytes, more);
    expect(registered.status, registered.text).toBe(201);
    for (let from = 0; from < bytes.length; from += PART)
      expect((await this.put(modelId, bytes.subarray(from, from + PART), `?part=${from / PART}`)).status).toBe(200);
    const active = await this.change(modelId, { status: "active" });
    expect(active.status, active.text).toBe(200);
  }

  embed(input: unknown, model = SHIPPED): Promise<Answer> {
    return this.ask("POST", "/v1/embeddings", { input, model });
  }

  async vectors(input: unknown, model = SHIPPED): Promise<readonly number[][]> {
    const answer = await this.embed(input, model);
    expect(answer.status, answer.text).toBe(200);
    return (answer.json.data["embeddings"] as { values: number[] }[]).map(({ values }) => values);
  }
}

export const cosine = (a: readonly number[], b: readonly number[]): number =>
  a.reduce((sum, value, at) => sum + value * b[at]!, 0) / Math.hypot(...a) / Math.hypot(...b);

export function expectRefusal(answer: Answer, code: string, ...parts: readonly string[]): void {
  expect(answer.json.code, answer.text).toBe(code);
  for (const part of parts) expect(answer.text).toContain(part);
}
