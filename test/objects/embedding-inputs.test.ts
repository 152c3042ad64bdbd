// Models that somebody else runs, images and tensors over HTTP inside workerd: providers are real Workers (provider-worker.mjs).
import { describe, expect, it } from "vitest";
import { expectRefusal, MODELS, Owner, SHIPPED } from "./embedding-support.ts";
import { type Answer, ask } from "./gateway-support.ts";
import { Db } from "./vector-support.ts";

describe("remote models", () => {
  const remote = {
    provider: "openai",
    model: "letters",
    url: "https://provider.example/v1/embeddings",
    secret: "PROVIDER_KEY",
  };
  const make = async (owner: Owner, modelId: string, body: object): Promise<Answer> => {
    const registered = await owner.ask("POST", MODELS, { modelId, family: "remote", ...body });
    return registered.status === 201 ? owner.change(modelId, { status: "active" }) : registered;
  };

  it("[EM-54] [EM-57] an endpoint and Workers AI make vectors of a tenant's texts; the key is in no answer", async () => {
    const owner = await Owner.make();
    const active = await make(owner, "letters", { remote });
    expect(active.status, active.text).toBe(200);
    expect(active.json.data).toMatchObject({
      status: "active",
      family: "remote",
      outputDimension: 3,
      remote,
      files: [],
    });
    const parameters = { normalize: false };
    const bound = await make(owner, "bound", { remote: { provider: "workers-ai", model: "@cf/letters" }, parameters });
    expect(bound.status, bound.text).toBe(200);
    expect(await owner.vectors(["banana", "hello"], "bound")).toEqual([
      [3.5, 0.5, 0.5],
      [0.5, 1.5, 1.5],
    ]);
    const db = await Db.create(owner.key, { databaseId: "remote", embeddingModels: [{ modelId: "letters" }] });
    for (const text of ["banana", "tree", "moon"]) await db.ask("POST", "/vectors", { id: text, text });
    expect(await db.search({ queryText: "root", topK: 1 })).toMatchObject([{ id: "moon" }]);
    const seen = [active.text, bound.text, (await owner.ask("GET", MODELS)).text, (await ask("GET", "/metrics")).text];
    expect(seen.join()).not.toContain("never-told");
  });

  it("[EM-55] [EM-57] a provider that is down is a 503, nothing is stored; addresses and secrets that are not allowed are refused", async () => {
    const owner = await Owner.make();
    const down = await make(owner, "down", { remote: { ...remote, model: "broken" } });
    expectRefusal(down, "unavailable", "status 500, 3 times");
    expect([down.status, down.headers.get("retry-after")]).toEqual([503, "1"]);
    for (const [body, ...parts] of [
      [{ remote: { ...remote, url: "http://127.0.0.1:9/v1/embeddings" } }, "remote.url names the address 127.0.0.1"],
      [
        { remote: { ...remote, url: "https://other.example/v1/embeddings" } },
        "is for https://provider.example/v1/ only",
      ],
      [{ remote: { ...remote, secret: "JADE_CONFIG" } }, "which the operator has not set up"],
      [{}, "remote is needed"],
      [{ remote, inputType: "image" }, "take text"],
      [{ remote: { provider: "workers-ai", model: "m", url: remote.url } }, "remote.url means nothing"],
      [{ remote, files: [{ name: "a", bytes: 1, sha256: "0".repeat(64) }] }, "files are none"],
    ] as const)
      expectRefusal(await make(owner, `m${parts[0].length}`, body), "invalidRequest", ...parts);
  });
});

describe("images and tensors", () => {
  it("[EM-53] what a model does not take is refused by its place; a database without a model for it says so, and nothing is stored", async () => {
    const owner = await Owner.make();
    const image = btoa("no image at all");
    expectRefusal(
      await owner.embed({ image }),
      "invalidRequest",
      "input.image is of the type image; the model takes text",
    );
    expectRefusal(await owner.embed(["king", { image }]), "invalidRequest", "input[1].image is of the type image");
    expectRefusal(await owner.embed({ image: "%%" }), "invalidRequest", "input.image is not base64");
    expectRefusal(
      await owner.embed([{ tensor: { x: { data: [1] } } }]),
      "invalidRequest",
      "input[0].tensor is of the type",
    );
    expectRefusal(await owner.embed([{}]), "invalidRequest", "input[0] must be a text, or have image or tensor");
    const long = "A".repeat(7_200_000);
    expectRefusal(
      await owner.embed({ image: long }),
      "invalidRequest",
      "input.image has about 5400000 bytes; the limit is 5242880",
    );
    const db = await Db.create(owner.key, { databaseId: "i", embeddingModels: [{ modelId: SHIPPED }] });
    expectRefusal(await db.ask("POST", "/vectors", { id: "a", image }), "invalidRequest", "no model for images");
    expectRefusal(
      await db.ask("POST", "/vectors", { id: "a", image, text: "king" }),
      "invalidRequest",
      "give one of them",
    );
    expectRefusal(await db.ask("POST", "/search", { queryImage: image }), "invalidRequest", "no model for images");
    const asked = { queryImage: image, embeddingModel: SHIPPED };
    expectRefusal(await db.ask("POST", "/search", asked), "invalidRequest", "queryImage is of the type image");
    expectRefusal(
      await db.ask("POST", "/search", { queryImage: image, queryText: "a" }),
      "invalidRequest",
      "queryImage",
    );
    expect(await db.count()).toBe(0);
    const files = [{ name: "model.onnx", bytes: 4, sha256: "0".repeat(64) }];
    const register = (body: object) => owner.ask("POST", MODELS, { files, ...body });
    expectRefusal(await register({ family: "image" }), "invalidRequest", "do not name preprocessor_config.json");
    expectRefusal(await register({ family: "tensor" }), "invalidRequest", "inputs are needed");
    expectRefusal(
      await register({ family: "tensor", inputs: [{ name: "x", type: "text", shape: [] }] }),
      "invalidRequest",
      "inputs[0].type",
    );
    expectRefusal(await register({ family: "image", inputType: "text" }), "invalidRequest", "take image");
  });
});
