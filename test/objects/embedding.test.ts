// Models and texts over HTTP inside workerd, with the embedder as a Worker of its own. Story 5 of the specification.
import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { registerModel } from "../../src/gateway/embedding-models.ts";
import { createGateway } from "../../src/gateway/gateway.ts";
import { cosine, expectRefusal, MODELS, Owner, SHIPPED, WORDS } from "./embedding-support.ts";
import { ask, directory, newKey, ROOT_KEY, tenantObject } from "./gateway-support.ts";
import { Db } from "./vector-support.ts";

describe("embedding models", () => {
  it("[EM-20] story 5.1, 5.3, 5.4: a tenant chooses from a list of models and gets the vectors of its texts", async () => {
    const owner = await Owner.make();
    const listed = await owner.ask("GET", MODELS);
    expect(listed.json.data["items"]).toMatchObject([
      {
        modelId: SHIPPED,
        status: "active",
        isShipped: true,
        outputDimension: 25,
        licence: "PDDL-1.0",
        inputType: "text",
      },
    ]);
    const [king, queen, tuesday] = await owner.vectors(["king", "queen", "Tuesday"]);
    expect(king).toHaveLength(25);
    expect(Math.hypot(...king!)).toBeCloseTo(1, 5);
    // As GloVe's own numbers have it.
    expect(cosine(king!, queen!)).toBeCloseTo(0.920242, 3);
    expect(cosine(king!, tuesday!)).toBeLessThan(0.7);
    expect(await owner.vectors("king")).toEqual([king]);
  });

  it("[EM-21] a model is registered, uploaded in parts, checked, run, disabled, enabled and deleted; its record comes back", async () => {
    const owner = await Owner.make();
    // Longer than a part, and than a piece.
    const padding = Array.from(
      { length: 70_000 },
      (_, n) => `w${n} ${n % 7} ${n % 11} ${"1".padEnd(60, "0")}e-59\n`,
    ).join("");
    await owner.add("colours", WORDS + padding, {
      name: "Colours",
      version: "2",
      parameters: { pooling: "mean", normalize: false },
    });
    const look = await owner.ask("GET", `${MODELS}/colours`);
    expect(look.json.data).toMatchObject({
      ...{ modelId: "colours", name: "Colours", version: "2", status: "active", outputDimension: 3, isShipped: false },
      ...{ licence: "CC0-1.0", source: "made for a test", parameters: { pooling: "mean", normalize: false } },
    });
    expect(look.json.data["storedBytes"]).toBe(WORDS.length + padding.length);
    expect(await owner.vectors(["red", "red green"], "colours")).toEqual([
      [1.5, -0.4, 0.2],
      [1.45, -0.45, 0.25],
    ]);
    expect((await owner.change("colours", { status: "disabled" })).json.data["status"]).toBe("disabled");
    expectRefusal(await owner.embed("red", "colours"), "conflict", "is disabled");
    await owner.change("colours", { status: "active", description: "of a rainbow" });
    expect(await owner.vectors("red", "colours")).toEqual([[1.5, -0.4, 0.2]]);
    expectRefusal(await owner.change("colours", { parameters: { pooling: "idf" } }), "conflict", "fixed");
    expectRefusal(await owner.put("colours", new Uint8Array(4)), "conflict", "complete");
    expect((await owner.ask("DELETE", `${MODELS}/colours`)).status).toBe(200);
    expectRefusal(await owner.embed("red", "colours"), "notFound", '\\"colours\\"');
    expectRefusal(await owner.ask("DELETE", `${MODELS}/colours`), "notFound");
    // The same id again is another model.
    await owner.add("colours", "red 1 2\n");
    expect((await owner.vectors("red", "colours"))[0]).toHaveLength(2);
  });

  it("[EM-22] bytes that are missing, others than announced, or no model are refused, and the model does not answer", async () => {
    const owner = await Owner.make();
    const text = new TextEncoder().encode(WORDS);
    await owner.register("bad", text, { outputDimension: 4 });
    expectRefusal(await owner.embed("red", "bad"), "conflict", "not complete");
    expectRefusal(
      await owner.change("bad", { status: "active" }),
      "conflict",
      "part 0 of 1 of words.txt is not there yet",
    );
    expectRefusal(
      await owner.put("bad", text.subarray(1)),
      "invalidRequest",
      `has ${text.length} bytes; ${text.length - 1} came`,
    );
    expectRefusal(await owner.put("bad", text, "?part=1"), "invalidRequest", "part is 1");
    expectRefusal(await owner.put("bad", text, "?part=x"), "invalidRequest", "part");
    expectRefusal(await owner.put("bad", text, "", "other.txt"), "notFound", "other.txt");
    expectRefusal(await owner.put("none", text), "notFound", "none");
    const other = text.slice();
    other[0]! ^= 1;
    expect((await owner.put("bad", other)).json.data).toMatchObject({ storedBytes: text.length, isWhole: true });
    expectRefusal(await owner.change("bad", { status: "active" }), "invalidRequest", "sha256");
    await owner.put("bad", text);
    expectRefusal(
      await owner.change("bad", { status: "active" }),
      "invalidRequest",
      "vectors of 3 numbers; outputDimension is 4",
    );
    const broken = new TextEncoder().encode("red 1 2\ngreen 1\n");
    await owner.register("broken", broken);
    await owner.put("broken", broken);
    expectRefusal(await owner.change("broken", { status: "active" }), "invalidRequest", "has 1 numbers in line 2");
    expect((await owner.ask("GET", `${MODELS}/broken`)).json.data["status"]).toBe("uploading");
    const big = { files: [{ name: "words.txt", bytes: 300 * 1024 * 1024, sha256: "0".repeat(64) }] };
    expectRefusal(await owner.register("big", text, big), "invalidRequest", "268435456");
    const two = { files: ["a", "b"].map((name) => ({ name, bytes: 1, sha256: "0".repeat(64) })) };
    expectRefusal(await owner.register("two", text, two), "invalidRequest", "a model of word vectors has one");
  });

  it("[EM-23] models are the tenant's own: by admin keys only, unseen by others, gone with it; shipped ones can be disabled for oneself", async () => {
    const [owner, other] = [await Owner.make(), await Owner.make()];
    await owner.add("mine");
    expectRefusal(await other.embed("red", "mine"), "notFound");
    expect((await other.ask("GET", MODELS)).text).not.toContain("mine");
    const reader = await newKey(owner.tenantId, { scope: "read-only" });
    const asReader = new Owner({ tenantId: owner.tenantId, key: reader });
    expect(await asReader.vectors("red", "mine")).toHaveLength(1);
    const text = new TextEncoder().encode(WORDS);
    for (const refused of [
      await asReader.register("x", text),
      await asReader.put("mine", text),
      await asReader.change("mine", { status: "disabled" }),
      await asReader.ask("DELETE", `${MODELS}/mine`),
    ])
      expect(refused.status).toBe(403);
    expectRefusal(await owner.register("mine", text), "alreadyExists");
    expectRefusal(await owner.register(SHIPPED, text), "alreadyExists");
    expectRefusal(await owner.ask("DELETE", `${MODELS}/${SHIPPED}`), "conflict", "comes with the server");
    expectRefusal(await owner.put(SHIPPED, text), "conflict");
    expectRefusal(await owner.change(SHIPPED, { name: "x" }), "conflict");
    expect((await owner.change(SHIPPED, { status: "disabled" })).json.data).toMatchObject({ status: "disabled" });
    expectRefusal(await owner.embed("king"), "conflict");
    expect(await other.vectors("king")).toHaveLength(1);
    expect((await owner.ask("GET", `${MODELS}?limit=1`)).json.data["items"] as object[]).toHaveLength(1);
    const number = (await directory().lookupTenant(owner.tenantId))!;
    expect(
      (await env.EMBEDDER!.listModels(number, { after: "", limit: 10 })).map((one) => one.definition.modelId),
    ).toEqual([SHIPPED, "mine"]);
    await ask("DELETE", `/v1/tenants/${owner.tenantId}`, { key: ROOT_KEY });
    await expect
      .poll(async () => (await env.EMBEDDER!.findModel(number, "mine")) === null, { timeout: 20_000, interval: 200 })
      .toBe(true);
  });

  it("[EM-69] a model that is registered while its tenant is erased leaves nothing behind", async () => {
    const owner = await Owner.make();
    const tenant = (await directory().lookupTenant(owner.tenantId))!;
    const registrar = { embedder: env.EMBEDDER!, owner: env.TENANT.get(env.TENANT.idFromName(`t${tenant}`)) };
    const about = { name: "x", version: "", provider: "", description: "", licence: "", source: "" };
    const files = [{ name: "w.txt", bytes: 4, sha256: "ab".repeat(32) }];
    const kind = { family: "words", inputType: "text", outputDimension: null, parameters: {}, files } as const;
    const register = (modelId: string) => {
      const mutation = { writeId: crypto.getRandomValues(new Uint8Array(16)), bodyHash: modelId };
      return registerModel(registrar, { tenant, definition: { modelId, ...about, ...kind }, mutation });
    };
    expect(await register("before")).toMatchObject({ ok: true });
    await tenantObject(tenant).beginErasure();
    await env.EMBEDDER!.erase(tenant);
    expect(await register("late")).toMatchObject({ ok: false, code: "notFound" });
    const models = await env.EMBEDDER!.listModels(tenant, { after: "", limit: 10 });
    expect(models.map(({ definition }) => definition.modelId)).toEqual([SHIPPED]);
  });

  it("[EM-24] a repeated registration is one; another body under its key is refused", async () => {
    const owner = await Owner.make();
    const files = [{ name: "words.txt", bytes: 3, sha256: "0".repeat(64) }];
    const post = (body: object) => owner.ask("POST", MODELS, body, { "idempotency-key": "once" });
    const first = await post({ files });
    expect(first.json.data["modelId"]).toMatch(/^emb_[0-9a-f]{16}$/);
    expect((await post({ files })).json.data).toEqual(first.json.data);
    expectRefusal(await post({ files, name: "x" }), "idempotencyKeyReused");
  });

  it("[EM-7] [EM-60] texts without a vector are refused with place and limit, and the words that are unknown", async () => {
    const owner = await Owner.make();
    const unknownText = "zzxqv wplkj";
    expectRefusal(await owner.embed([]), "invalidRequest", "input");
    expectRefusal(await owner.embed(["king", ""]), "invalidRequest", "input[1] is empty");
    const unknown = await owner.embed(["king", unknownText]);
    expectRefusal(unknown, "invalidRequest", "input[1] has no word that the model knows: ");
    expect(unknown.text).toContain('"unknownWords":["zzxqv","wplkj"],"knownWords":11925');
    expectRefusal(await owner.embed("a ".repeat(40_000)), "invalidRequest", "80000 bytes; the limit is 65536");
    expectRefusal(await owner.embed(Array.from({ length: 513 }, () => "king")), "invalidRequest", "input");
    expectRefusal(await owner.embed("king", "no-such"), "notFound", "no-such");
    expect((await ask("POST", "/v1/embeddings", { body: { input: "a", model: SHIPPED } })).status).toBe(401);
    // 100 may wait in this test's embedder.
    const many = await owner.embed(Array.from({ length: 101 }, (_, n) => `king ${n}`));
    expectRefusal(many, "overloaded", "100");
    expect([many.status, many.headers.get("retry-after")]).toEqual([503, "1"]);
  });
});

const SENTENCES = [
  ["cake", "She baked a chocolate cake with fresh strawberries"],
  ["match", "The football team won the final match"],
  ["rates", "Interest rates were raised by the central bank"],
] as const;

describe("texts in databases", () => {
  async function newDb(owner: Owner, more: object = {}): Promise<Db> {
    return Db.create(owner.key, { databaseId: "texts", embeddingModels: [{ modelId: SHIPPED }], ...more });
  }

  it("[EM-25] story 5: texts are stored in place of vectors, one by one and in batches, and found by texts", async () => {
    const owner = await Owner.make();
    const db = await newDb(owner);
    expect((await db.ask("GET", "")).json.data).toMatchObject({
      vectorDimension: 25,
      embeddingModels: [{ modelId: SHIPPED, name: SHIPPED }],
    });
    const [[id, text], ...others] = SENTENCES;
    expect((await db.ask("POST", "/vectors", { id, text, metadata: { text } })).status).toBe(201);
    const vectors = [
      ...others.map(([id, text]) => ({ id, text })),
      { id: "bad", text: "?" },
      { id: "raw", values: Array(25).fill(1) },
    ];
    const batch = await db.ask("POST", "/vectors/batch", { vectors });
    expect(batch.json.data).toMatchObject({ stored: 3, failed: 1 });
    expectRefusal(
      { ...batch, json: { ...batch.json, code: "invalidRequest" } },
      "invalidRequest",
      "vectors[2].text has no word",
    );
    const lines = SENTENCES.map(([id, text]) => JSON.stringify({ id: `${id}-line`, text })).join("\n");
    expect((await db.send("/vectors/batch", lines, "application/x-ndjson")).json.data).toMatchObject({ stored: 3 });
    for (const [query, expected] of [
      ["dessert recipe", "cake"],
      ["soccer game", "match"],
      ["money and economy", "rates"],
    ]) {
      const hits = await db.search({ queryText: query, topK: 2 });
      expect(hits.map((hit) => hit.id).sort(), query).toEqual([expected, `${expected}-line`]);
    }
    const [vector] = await owner.vectors(SENTENCES[0][1]);
    expect((await db.ask("GET", "/vectors/cake")).json.data["values"]).toEqual(vector);
    const both = await db.ask("POST", "/search/batch", {
      queries: [{ queryText: "soccer game" }, { id: "match" }, { queryVector: vector }],
      topK: 2,
    });
    const searches = both.json.data["searches"] as { results: { id: string; score: number }[] }[];
    expect(searches.map(({ results }) => results[0]!.id.replace("-line", ""))).toEqual(["match", "match", "cake"]);
    expect(searches[2]!.results[0]!.score).toBeCloseTo(1, 5);
    await db.ask("PUT", "/vectors/cake", { text: "The train was late" });
    expect((await db.ask("GET", "/vectors/cake")).json.data).toMatchObject({ version: 2, metadata: { text } });
    expect(await db.search({ queryText: "railway", embeddingModel: SHIPPED, topK: 1 })).toHaveLength(1);
  });

  it("[EM-26] what does not fit is refused and nothing is stored: no model, an unknown one, another dimension, both forms", async () => {
    const owner = await Owner.make();
    const db = await newDb(owner);
    const post = (body: object) => db.ask("POST", "/vectors", body);
    expectRefusal(
      await post({ id: "a", text: "king", values: Array(25).fill(1) }),
      "invalidRequest",
      "text is given beside values",
    );
    expectRefusal(await post({ id: "a" }), "invalidRequest", "values is required, or text");
    expectRefusal(await post({ id: "a", text: "" }), "invalidRequest", "text is empty");
    expectRefusal(
      await db.ask("POST", "/search", { queryText: "king", id: "a" }),
      "invalidRequest",
      "give queryVector, queryText, queryImage, queryTensor or id",
    );
    expectRefusal(
      await db.ask("POST", "/search", { queryText: "king", embeddingModel: "no-such" }),
      "notFound",
      "no-such",
    );
    const create = (body: object) => owner.ask("POST", "/v1/databases", { databaseId: "other", ...body });
    expectRefusal(
      await create({ embeddingModels: [{ modelId: "no-such" }] }),
      "invalidRequest",
      "embeddingModels[0].modelId",
    );
    expectRefusal(
      await create({ vectorDimension: 3, embeddingModels: [{ modelId: SHIPPED }] }),
      "invalidRequest",
      "25 numbers; vectorDimension is 3",
    );
    expectRefusal(
      await create({ embeddingModels: [{ modelId: SHIPPED, inputType: "image" }] }),
      "invalidRequest",
      "takes text",
    );
    expectRefusal(await create({}), "invalidRequest", "vectorDimension is required");
    // The specification's example: names that nothing is registered under.
    const bert = await Db.create(owner.key, {
      databaseId: "bert",
      vectorDimension: 3,
      embeddingModels: [{ name: "BERT" }],
    });
    expectRefusal(await bert.ask("POST", "/vectors", { text: "king" }), "notFound", "BERT");
    expectRefusal(
      await bert.ask("POST", "/search", { queryText: "king", embeddingModel: SHIPPED }),
      "invalidRequest",
      "25 numbers",
    );
    const plain = await Db.create(owner.key, { databaseId: "plain", vectorDimension: 25 });
    expectRefusal(
      await plain.ask("POST", "/vectors/batch", { vectors: [{ text: "king" }] }),
      "invalidRequest",
      "no model for texts",
    );
    await owner.change(SHIPPED, { status: "disabled" });
    expectRefusal(await post({ id: "a", text: "king" }), "conflict", "disabled");
    expect(await db.count()).toBe(0);
    expectRefusal(
      await owner.ask("PUT", "/v1/databases/plain", { embeddingModels: [{ modelId: "x" }] }),
      "invalidRequest",
      "modelId",
    );
  });

  it("[EM-27] a model removed while it is in use: later texts are refused, searches by vector go on", async () => {
    const owner = await Owner.make();
    await owner.add("colours");
    const db = await Db.create(owner.key, { databaseId: "c", embeddingModels: [{ modelId: "colours" }] });
    for (const text of ["red", "seven"]) await db.ask("POST", "/vectors", { id: text, text });
    const asks = Array.from({ length: 20 }, (_, n) => db.ask("POST", "/search", { queryText: `green ${n}`, topK: 1 }));
    const gone = owner.ask("DELETE", `${MODELS}/colours`);
    for (const answer of await Promise.all(asks)) expect([200, 404]).toContain(answer.status);
    expect((await gone).status).toBe(200);
    expectRefusal(await db.ask("POST", "/search", { queryText: "green" }), "notFound", "colours");
    expect(await db.search({ queryVector: [1, 0, 0], topK: 1 })).toMatchObject([{ id: "red" }]);
    expect(await db.search({ id: "red", topK: 1 })).toMatchObject([{ id: "seven" }]);
  });

  it("[EM-28] edge case 6: with the embedder away texts are answered 503, nothing is stored, and all that needs no model goes on", async () => {
    const owner = await Owner.make();
    const db = await newDb(owner);
    await db.put("v", Array(25).fill(1));
    const away = { embed: () => Promise.reject(new Error("away")), findModel: () => Promise.reject(new Error("away")) };
    for (const EMBEDDER of [undefined, away]) {
      const gateway = createGateway({ ...env, EMBEDDER } as never, { write: () => undefined });
      const send = async (path: string, body: object) => {
        const headers = { authorization: `Bearer ${owner.key}`, "content-type": "application/json" };
        const request = new Request(`http://jade.test/v1/databases/texts${path}`, {
          method: "POST",
          headers,
          body: JSON.stringify(body),
        });
        const response = await gateway.handle(request, { waitUntil: () => undefined } as never);
        return {
          status: response.status,
          text: await response.text(),
          retryAfter: response.headers.get("retry-after"),
        };
      };
      for (const refused of [
        await send("/vectors", { text: "king" }),
        await send("/search", { queryText: "king" }),
        await send("/vectors/batch", { vectors: [{ text: "a" }] }),
      ])
        expect([refused.status, refused.retryAfter], refused.text).toEqual([503, "1"]);
      expect((await send("/search", { queryVector: Array(25).fill(1) })).status).toBe(200);
      expect((await send("/vectors", { id: "w", values: Array(25).fill(2) })).status).toBeLessThan(300);
    }
    expect(await db.count()).toBe(2);
  });

  it("[EM-29] counters of the embedder are in /metrics", async () => {
    const owner = await Owner.make();
    await owner.vectors(["king", "queen"]);
    await expect
      .poll(async () => (await ask("GET", "/metrics")).text, { timeout: 20_000, interval: 500 })
      .toMatch(/jade_embedding_texts_total [1-9]/);
  });
});
