// What the tests of access share: gateways of their own (each is to the objects what one isolate is), tokens, sessions.
import { createExecutionContext, waitOnExecutionContext } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { exportJWK, generateKeyPair, SignJWT } from "jose";
import type { Env } from "../../objects/env.ts";
import type { SettingsInput } from "../../src/cluster/settings.ts";
import { createGateway, type Gateway } from "../../src/gateway/gateway.ts";
import { ByteWriter } from "../../src/wire/bytes.ts";
import { readAnswers, type SessionAnswer, type SessionRequest, writeRequest } from "../../src/wire/session.ts";
import type { Answer, Ask } from "./gateway-support.ts";

export const ISSUER = "https://issuer.test/";

/** An isolate of its own over the deployment's objects. */
export function newGateway(settings: SettingsInput = {}, now?: () => number): Gateway {
  const overrides = { write: () => undefined, ...(now ? { now } : {}) };
  return createGateway({ ...env, JADE_CONFIG: JSON.stringify(settings) } as Env, overrides);
}

export async function askOf(
  gateway: Gateway,
  method: string,
  path: string,
  { key, body, raw, headers }: Ask = {},
): Promise<Answer> {
  const sent = raw ?? (body === undefined ? null : JSON.stringify(body));
  const request = new Request(`http://jade.test${path}`, {
    method,
    headers: {
      ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
      ...(sent === null ? {} : { "content-type": "application/json" }),
      ...headers,
    },
    body: sent,
  });
  const context = createExecutionContext();
  const response = await gateway.handle(request, context);
  const text = await response.text();
  const isJson = response.headers.get("content-type") === "application/json" && text !== "";
  return { status: response.status, headers: response.headers, text, json: isJson ? JSON.parse(text) : {} };
}

/** Opens a session through one gateway. */
export async function openSession(gateway: Gateway, token: string): Promise<Response> {
  const headers = { upgrade: "websocket", authorization: `Bearer ${token}` };
  const context = createExecutionContext();
  const response = await gateway.handle(new Request("http://jade.test/v1/session", { headers }), context);
  void waitOnExecutionContext;
  return response;
}

export function accept(response: Response): WebSocket {
  const socket = response.webSocket!;
  socket.binaryType = "arraybuffer";
  socket.accept();
  return socket;
}

/** Sends requests in one message and waits for as many answers, in the order of ids. */
export function exchangeAll(socket: WebSocket, requests: readonly SessionRequest[]): Promise<SessionAnswer[]> {
  const writer = new ByteWriter();
  for (const request of requests) writeRequest(writer, request);
  const answers: SessionAnswer[] = [];
  return new Promise((resolve, reject) => {
    const onMessage = (event: MessageEvent): void => {
      answers.push(...readAnswers(new Uint8Array(event.data as ArrayBuffer)));
      if (answers.length < requests.length) return;
      socket.removeEventListener("message", onMessage);
      resolve(answers);
    };
    socket.addEventListener("message", onMessage);
    socket.addEventListener("close", (event) => reject(new Error(`closed ${event.code}`)), { once: true });
    socket.send(writer.take());
  });
}

export interface TokenMaker {
  readonly settings: SettingsInput;
  make(claims: object): Promise<string>;
}

/** An issuer with one key, given inline. */
export async function newIssuer(options: object = {}): Promise<TokenMaker> {
  const { publicKey, privateKey } = await generateKeyPair("ES256", { extractable: true });
  const jwk = { ...(await exportJWK(publicKey)), kid: "k" } as { kty: "EC" };
  const issuer = { issuer: ISSUER, audience: "jade", jwks: { keys: [jwk] }, maxScope: "admin" as const, ...options };
  return {
    settings: { auth: { tokenIssuers: [issuer] } },
    make: (claims) => {
      const iat = Math.floor(Date.now() / 1000);
      const payload = { iss: ISSUER, aud: "jade", iat, exp: iat + 600, scope: "jade:read-write", ...claims };
      return new SignJWT(payload).setProtectedHeader({ alg: "ES256", kid: "k" }).sign(privateKey);
    },
  };
}

export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
