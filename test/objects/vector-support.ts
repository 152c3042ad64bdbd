// What the tests of vector databases over HTTP share.
import { exports } from "cloudflare:workers";
import { expect } from "vitest";
import { type Answer, ask, ORIGIN } from "./gateway-support.ts";

export interface Hit {
  readonly id: string;
  readonly score: number;
  readonly metadata?: object;
  readonly values?: readonly number[];
}

/** A database of one's own, and the requests to it. */
export class Db {
  readonly key: string;
  readonly id: string;

  constructor(key: string, id: string) {
    this.key = key;
    this.id = id;
  }

  static async create(key: string, body: { databaseId: string; [field: string]: unknown }): Promise<Db> {
    const answer = await ask("POST", "/v1/databases", { key, body });
    expect(answer.status, answer.text).toBe(201);
    return new Db(key, body.databaseId);
  }

  ask(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Answer> {
    return ask(method, `/v1/databases/${this.id}${path}`, {
      key: this.key,
      ...(body !== undefined && { body }),
      headers,
    });
  }

  send(path: string, raw: BodyInit, type: string, headers: Record<string, string> = {}): Promise<Answer> {
    return ask("POST", `/v1/databases/${this.id}${path}`, {
      key: this.key,
      raw,
      headers: { "content-type": type, ...headers },
    });
  }

  async download(path: string): Promise<Uint8Array<ArrayBuffer>> {
    const headers = { authorization: `Bearer ${this.key}` };
    const response = await exports.default.fetch(`${ORIGIN}/v1/databases/${this.id}${path}`, { headers });
    expect(response.status).toBe(200);
    return new Uint8Array(await response.arrayBuffer());
  }

  async put(id: string, values: readonly number[], metadata?: object): Promise<Answer> {
    const answer = await this.ask("POST", "/vectors", { id, values, ...(metadata && { metadata }) });
    expect([200, 201], answer.text).toContain(answer.status);
    return answer;
  }

  async search(body: object, path = "/search"): Promise<readonly Hit[]> {
    const answer = await this.ask("POST", path, body);
    expect(answer.status, answer.text).toBe(200);
    return answer.json.data["results"] as Hit[];
  }

  async count(filters?: object): Promise<unknown> {
    const query = filters ? `?filters=${encodeURIComponent(JSON.stringify(filters))}` : "";
    const answer = await this.ask("GET", `/vectors/count${query}`);
    expect(answer.status, answer.text).toBe(200);
    return answer.json.data["count"];
  }
}
