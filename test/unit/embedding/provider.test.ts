// Remote models against a real HTTP server that answers, fails, stalls and answers wrongly; time is real but for the pauses between tries.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { EmbedderEnv } from "../../../objects/embedder-env.ts";
import { openProvider } from "../../../objects/provider-family.ts";
import { defaultSettings } from "../../../src/cluster/settings.ts";
import type { ModelDefinition } from "../../../src/embedding/model.ts";
import type { RemoteModel } from "../../../src/embedding/provider/provider.ts";
import type { Outcome } from "../../../src/embedding/queue.ts";
import { EmbeddingRefusal } from "../../../src/embedding/refusal.ts";

const KEY = "sk-never-told-to-anyone";
type Reply = (request: { input: string[]; model: string }, response: ServerResponse) => void;

let server: Server;
let url: string;
let reply: Reply;
let seen: { headers: IncomingMessage["headers"]; body: { input: string[]; model: string } }[];

const json = (response: ServerResponse, body: unknown, status = 200, headers: Record<string, string> = {}): void => {
  response.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify(body));
};
const vectorsOf = (input: readonly string[]) => input.map((text, index) => ({ index, embedding: [text.length, 0, 0] }));
const good: Reply = ({ input }, response) =>
  json(response, { data: vectorsOf(input).reverse(), usage: { prompt_tokens: 3 * input.length } });

// A server for each test: they share no breaker.
beforeEach(async () => {
  seen = [];
  reply = good;
  server = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on("data", (part: Buffer) => parts.push(part));
    request.on("end", () => {
      const body = JSON.parse(Buffer.concat(parts).toString());
      seen.push({ headers: request.headers, body });
      reply(body, response);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1/embeddings`;
});

afterEach(() => {
  server.closeAllConnections();
  server.close();
});

const settings = (more: object = {}) => ({
  ...defaultSettings.embedding,
  allowedNetworks: ["127.0.0.0/8"],
  secrets: [{ name: "OPENAI_KEY", url: new URL(url).origin }],
  ...more,
});

function open(
  remote: Partial<RemoteModel> = {},
  { isNew = true, more = {} as object, env = { OPENAI_KEY: KEY } as object } = {},
) {
  const definition = {
    parameters: { normalize: false },
    outputDimension: isNew ? null : 3,
    remote: { provider: "openai", model: "small", url, timeoutMs: 8000, ...remote },
  } as unknown as ModelDefinition;
  return openProvider({ key: "k", definition }, { env: env as EmbedderEnv, settings: settings(more), isNew });
}

const firstOf = (outcomes: readonly Outcome[]): unknown => {
  const [outcome] = outcomes;
  return outcome instanceof EmbeddingRefusal ? outcome.message : [...outcome!.values];
};
const refused = (work: unknown): Promise<EmbeddingRefusal> =>
  Promise.resolve(work).then(
    () => Promise.reject(new Error("was not refused")),
    (error: unknown) => (error instanceof EmbeddingRefusal ? error : Promise.reject(error as Error)),
  );

describe("remote models over HTTP", () => {
  it("[EM-54] texts go in batches with the key, answers come in any order, the first tells the dimension", async () => {
    const model = await open({ secret: "OPENAI_KEY", batchTexts: 2, dimensions: 3 });
    expect(model.dimension).toBe(3);
    const outcomes = await model.run(["a", "", "ccc", "dd"]);
    expect(outcomes.map((one) => (one instanceof EmbeddingRefusal ? one.message : one.values[0]))).toEqual([
      1,
      " is empty",
      3,
      2,
    ]);
    expect(outcomes[3]).toMatchObject({ tokens: 3 });
    expect(seen.map(({ body }) => body.input)).toEqual([["a"], ["a", "ccc"], ["dd"]]);
    expect(seen[0]!.headers.authorization).toBe(`Bearer ${KEY}`);
    expect(seen[0]!.body).toMatchObject({ model: "small", dimensions: 3, encoding_format: "float" });
    await open();
    expect(seen.at(-1)!.headers.authorization).toBeUndefined();
  });

  it("[EM-55] what may pass is tried again; what does not pass is told as 503 and nothing is told of the provider's words", async () => {
    const model = await open({}, { isNew: false });
    let left = 2;
    reply = (body, response) => (left-- > 0 ? json(response, { error: "down" }, 503) : good(body, response));
    expect(firstOf(await model.run(["abcd"]))).toEqual([4, 0, 0]);
    expect(seen).toHaveLength(3);
    reply = (_, response) => json(response, { error: `no: ${KEY}` }, 500);
    const error = await refused(model.run(["a"]));
    expect(error).toMatchObject({ code: "unavailable", message: expect.stringContaining("status 500, 3 times") });
    expect(error.message).not.toContain(KEY);
    // A pause longer than there is time for is not waited for.
    seen = [];
    reply = (_, response) => json(response, {}, 429, { "retry-after": "60" });
    expect((await refused(model.run(["a"]))).message).toContain("status 429, 1 times");
    expect(seen).toHaveLength(1);
  });

  it("[EM-55] a provider that stalls, breaks off or is away ends in time", async () => {
    const model = await open({ timeoutMs: 150 }, { isNew: false });
    reply = () => undefined;
    const started = performance.now();
    expect(await refused(model.run(["a"]))).toMatchObject({
      code: "unavailable",
      message: expect.stringContaining("within 150 ms"),
    });
    expect(performance.now() - started).toBeLessThan(10_000);
    reply = good;
    await (await open({ timeoutMs: 8000 }, { isNew: false })).run(["a"]);
    reply = (_, response) => {
      response.writeHead(200, { "content-length": "1000" }).write('{"data":');
      setTimeout(() => response.destroy(), 20);
    };
    expect((await refused(model.run(["a"]))).message).toContain("cannot be reached");
  });

  it("[EM-55] after failures in a row it is left alone for a while", async () => {
    const model = await open({}, { isNew: false });
    reply = (_, response) => json(response, {}, 500);
    for (let n = 0; n < 4; n++) await refused(model.run(["a"]));
    const { length } = seen;
    expect((await refused(model.run(["a"]))).message).toMatch(
      /failed several times in a row and is asked again in \d+ s/,
    );
    expect(seen.length).toBe(length);
  });

  it("[EM-56] answers that are none are refused: no JSON, too few, twice the same, another dimension, no numbers, endless", async () => {
    const model = await open({}, { isNew: false });
    for (const [answer, message] of [
      ["<html>", "no list of 1 vectors"],
      [{ data: [] }, "no list of 1 vectors"],
      [{ data: [{ index: 1, embedding: [1, 2, 3] }] }, "no list of 1 vectors"],
      [{ data: [{ embedding: "AAAA" }] }, "something that is no vector"],
      [{ data: [{ embedding: [1, null, 3] }] }, "something that is no vector"],
    ] as const) {
      reply = (_, response) => (typeof answer === "string" ? response.end(answer) : json(response, answer));
      expect((await refused(model.run(["a"]))).message).toContain(message);
      reply = good;
      await model.run(["a"]);
    }
    reply = (_, response) => json(response, { data: [{ embedding: [1, 2] }] });
    expect((await refused(model.run(["a"]))).message).toContain("a vector of 2 numbers, where 3 were to come");
    reply = (_, response) => response.end("x".repeat(9 * 1024 * 1024));
    expect((await refused(model.run(["a"]))).message).toContain("no list of 1 vectors");
    reply = (_, response) => response.writeHead(302, { location: "http://169.254.169.254/" }).end();
    expect(await refused(model.run(["a"]))).toMatchObject({
      code: "conflict",
      message: expect.stringContaining("302"),
    });
  });

  it("[EM-56] a text that the provider refuses stops no other; a refused key is told as such", async () => {
    const model = await open({}, { isNew: false });
    reply = (body, response) => (body.input.includes("bad") ? json(response, {}, 400) : good(body, response));
    const outcomes = await model.run(["a", "bad", "ccc"]);
    expect(outcomes.map((one) => (one instanceof EmbeddingRefusal ? one.message : one.values[0]))).toEqual([
      1,
      " was refused by the provider of the model (status 400)",
      3,
    ]);
    reply = (_, response) => json(response, {}, 401);
    expect(await refused(open())).toMatchObject({
      code: "conflict",
      message: expect.stringContaining("refused the key"),
    });
  });

  it("[EM-57] private addresses need the operator's word; keys go only where they were given for", async () => {
    const at = (address: string) => refused(open({ url: address }, { more: { allowedNetworks: [] } }));
    expect(await at(url)).toMatchObject({
      code: "invalidRequest",
      message: expect.stringContaining("private, local or reserved"),
    });
    expect((await at("http://169.254.169.254/latest")).message).toContain("remote.url names the address");
    expect((await at("file:///etc/passwd")).message).toContain("must begin with https://");
    expect((await refused(open({ secret: "OTHER" }))).message).toContain("has not set up");
    const elsewhere = new URL(url);
    elsewhere.port = "9";
    expect((await refused(open({ secret: "OPENAI_KEY", url: elsewhere.href }))).message).toContain(
      `is for ${new URL(url).origin} only`,
    );
    const narrow = { more: { secrets: [{ name: "OPENAI_KEY", url: `${new URL(url).origin}/v1/emb` }] } };
    expect((await refused(open({ secret: "OPENAI_KEY" }, narrow))).message).toContain("only");
    expect((await refused(open({ secret: "OPENAI_KEY" }, { env: {} }))).message).toContain("has no value");
    expect(seen).toEqual([]);
  });
});

describe("Workers AI", () => {
  const remote = { provider: "workers-ai", model: "@cf/baai/bge-small-en-v1.5", url: undefined } as const;

  it("[EM-54] [EM-55] is asked by its binding; without one, or when it fails or gives something else, it is said so", async () => {
    const asked: unknown[] = [];
    let answer: () => Promise<unknown> = async () => ({ shape: [1, 2], data: [[3, 4]] });
    const AI = {
      run: (model: string, input: { text: string[] }) => {
        asked.push([model, input.text]);
        return answer();
      },
    };
    const model = await open(remote, { env: { AI } });
    expect(model.dimension).toBe(2);
    expect(firstOf(await model.run(["tea"]))).toEqual([3, 4]);
    expect(asked).toEqual([
      ["@cf/baai/bge-small-en-v1.5", ["a"]],
      ["@cf/baai/bge-small-en-v1.5", ["tea"]],
    ]);
    answer = () => Promise.reject(new Error(`of the account ${KEY}`));
    const error = await refused(model.run(["tea"]));
    expect(error).toMatchObject({ code: "unavailable", message: expect.stringContaining("failed, 3 times") });
    answer = async () => ({ data: [[1, 2, 3]] });
    expect((await refused(model.run(["tea"]))).message).toContain("3 numbers, where 2");
    expect(await refused(open(remote, { env: {} }))).toMatchObject({ code: "conflict" });
  });
});
