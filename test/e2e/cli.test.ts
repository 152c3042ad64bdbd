// `jade-db` as a user runs it: real processes against a real server, exit codes and outputs.
import { spawn, spawnSync } from "node:child_process";
import { appendFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { externalTensor, onnxFile } from "../../scripts/lib/onnx-writer.ts";
import { type RunningServer, startServer, temporaryDirectory } from "../../scripts/lib/server-process.mjs";
import { bomb } from "../onnx/png-bomb.ts";
import { tinyBert } from "../onnx/tiny-bert.ts";

const CLI = join(import.meta.dirname, "../../dist/cli.js");
let server: RunningServer;
let directory: string;
let environment: Record<string, string>;

function jadeDb(args: readonly string[], input = "") {
  const env = { ...process.env, ...environment };
  const { stdout, stderr, status } = spawnSync(process.execPath, [CLI, ...args], { encoding: "utf8", env, input });
  return { stdout, stderr, status };
}

const json = (args: readonly string[]) => {
  const { stdout, stderr } = jadeDb([...args, "--output", "json"]);
  if (stdout === "") throw new Error(stderr);
  return JSON.parse(stdout);
};

beforeAll(async () => {
  server = await startServer();
  directory = await temporaryDirectory("cli");
  environment = { JADE_URL: server.url, JADE_ROOT_KEY: server.rootKey };
  environment = { ...environment, JADE_API_KEY: json(["tenant", "create", "cli"]).apiKey };
});

afterAll(async () => {
  await server?.dispose();
  rmSync(directory, { recursive: true, force: true });
});

describe("jade-db", () => {
  it("manages tenants and keys", () => {
    expect(json(["tenant", "create", "t1", "--replication-factor", "1"])).toMatchObject({
      tenantId: "t1",
      replicationFactor: 1,
    });
    expect(jadeDb(["tenant", "list"]).stdout).toContain("t1");
    expect(jadeDb(["tenant", "get", "t1", "-o", "yaml"]).stdout).toContain("tenantId: t1");
    const key = json(["tenant", "key", "create", "t1", "--scope", "read-only", "--name", "reader"]);
    expect(json(["tenant", "key", "list", "t1"]).map((entry: { keyId: string }) => entry.keyId)).toContain(key.keyId);
    expect(jadeDb(["tenant", "key", "revoke", "t1", key.keyId]).status).toBe(0);
    expect(jadeDb(["tenant", "delete", "t1"]).status).toBe(0);
    expect(jadeDb(["tenant", "get", "t1"]).status).toBe(3);
  });

  it("[RP-39] [RP-49] changes a replication factor and repairs, and tells how it went", async () => {
    json(["tenant", "create", "t2", "--replication-factor", "1"]);
    expect(json(["tenant", "update", "t2", "--replication-factor", "2"])).toMatchObject({
      replicationFactor: 1,
      replicationFactorChange: { from: 1, to: 2 },
    });
    const shown = () => json(["tenant", "get", "t2"]);
    for (let i = 0; i < 100 && shown().replicationFactorChange !== null; i++)
      await new Promise((resolve) => setTimeout(resolve, 200));
    expect(shown()).toMatchObject({ replicationFactor: 2, replicationFactorChange: null });
    expect(jadeDb(["tenant", "update", "t2", "--replication-factor", "4"]).status).toBe(2);
    expect(json(["repair"])).toMatchObject({ state: "finished", nodesDone: 3, nodeCount: 3 });
    expect(json(["repair", "--incremental"])).toMatchObject({ state: "finished", kind: "incremental", nodesDone: 3 });
    expect(json(["repair", "list"])).toHaveLength(2);
  });

  it("puts, gets and deletes, with exact texts and exit codes", () => {
    expect(jadeDb(["kv", "put", "a", '{"n":1.0,"big":9007199254740993}']).status).toBe(0);
    expect(jadeDb(["kv", "get", "a", "--raw"]).stdout).toBe('{"n":1.0,"big":9007199254740993}\n');
    expect(jadeDb(["kv", "put", "b"], "[1,2]").status).toBe(0);
    expect(json(["kv", "get", "b"])).toMatchObject({ key: "b", value: [1, 2] });
    expect(jadeDb(["kv", "put", "c", "plain text", "--string"]).status).toBe(0);
    expect(jadeDb(["kv", "get", "c", "--raw"]).stdout).toBe('"plain text"\n');
    expect(jadeDb(["kv", "delete", "a"]).status).toBe(0);
    const gone = jadeDb(["kv", "get", "a"]);
    expect([gone.status, gone.stderr.split("\n")[0]]).toEqual([3, expect.stringContaining("notFound")]);
    expect(jadeDb(["kv", "put", "a", "not json"]).status).toBe(2);
    expect(jadeDb(["kv", "get"]).status).toBe(2);
    expect(jadeDb(["kv", "get", "a", "--api-key", "wrong"]).status).toBe(4);
    expect(jadeDb(["kv", "get", "a", "--url", "http://127.0.0.1:1", "--timeout", "1"]).status).toBe(6);
  });

  it("runs a batch from stdin", () => {
    const operations = ['{"op":"put","key":"x","value":1}', '{"op":"get","key":"nothing"}'].join("\n");
    const { stdout, status } = jadeDb(["kv", "batch", "-o", "json"], operations);
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject([
      { op: "put", ok: true },
      { op: "get", found: false },
    ]);
  });

  it("[EM-31] [EM-41] [EM-62] makes a model of a folder with an ONNX graph; the server's vectors are the plain twin's to 1e-5", () => {
    const bert = tinyBert(7);
    const folder = join(directory, "tiny-bert");
    mkdirSync(join(folder, "1_Pooling"), { recursive: true });
    writeFileSync(join(folder, "model.onnx"), bert.onnx);
    writeFileSync(join(folder, "tokenizer.json"), bert.tokenizer);
    writeFileSync(join(folder, "config.json"), bert.config);
    writeFileSync(join(folder, "1_Pooling/config.json"), '{"pooling_mode_cls_token":true}');
    const model = json(["model", "add", folder, "--licence", "CC0-1.0"]);
    expect(model).toMatchObject({ modelId: "tiny-bert", family: "transformer", status: "active", outputDimension: 12 });
    expect(model.parameters).toMatchObject({ pooling: "cls" });
    const texts = ["The cat sat on the mat.", "a loan of the river bank and of tea ".repeat(9), "money"];
    const embedded = json(["embed", ...texts, "--model", "tiny-bert"]) as { values: number[]; tokens: number }[];
    for (const [at, text] of texts.entries()) {
      const expected = bert.embed(text, { pooling: "cls" });
      for (const [n, value] of expected.entries())
        expect(Math.abs(embedded[at]!.values[n]! - value)).toBeLessThan(1e-5);
    }
    // The files are brought again to the next process, and nothing is asked twice.
    const { models } = JSON.parse(readFileSync(join(server.dataDir, "instance.lock"), "utf8"));
    process.kill(models.pid, "SIGKILL");
    const [again] = json(["embed", "the red cat and the green dog", "--model", "tiny-bert"]) as { values: number[] }[];
    expect(again!.values[0]).toBeCloseTo(bert.embed("the red cat and the green dog", { pooling: "cls" })[0]!, 5);
    json(["database", "create", "tiny", "--model", "tiny-bert"]);
    for (const text of texts) json(["vector", "put", text.slice(0, 5), "--database", "tiny", "--text", text]);
    expect(json(["search", "--database", "tiny", "--text", "The cat sat on the mat.", "--top-k", "1"])).toMatchObject([
      { id: "The c" },
    ]);
    writeFileSync(join(folder, "model.onnx"), bert.onnx.subarray(0, 3000));
    const broken = jadeDb(["model", "add", folder, "broken"]);
    expect([broken.status, broken.stderr]).toEqual([2, expect.stringContaining("cannot be read as an ONNX graph")]);
    expect(json(["embed", "money", "--model", "tiny-bert"])).toHaveLength(1);
    rmSync(join(folder, "tokenizer.json"));
    expect(jadeDb(["model", "add", folder, "broken"]).stderr).toContain("no tokenizer.json");
    expect(json(["model", "disable", "tiny-bert"])).toMatchObject({ status: "disabled" });
    expect(json(["model", "delete", "tiny-bert"])).toMatchObject({ deleted: true });
    expect(json(["model", "list"]).map(({ modelId }: { modelId: string }) => modelId)).toEqual(["glove-twitter-25d"]);
  });

  it("[EM-64] [EM-65] makes vectors of a file's texts by the shipped model, then all of them anew by another", () => {
    const file = join(directory, "texts.csv");
    const texts = ["red apple", "green tea", "fast train"];
    writeFileSync(file, `id,body\n${texts.map((text, at) => `t${at},${text}`).join("\n")}\nt3,zzxqv\n`);
    const command = ["import", "vectors", file, "--database", "texts", "--text-column", "body"];
    const made = jadeDb([...command, "--model", "glove-twitter-25d", "--skip-refused", "-o", "json"]);
    expect([made.status, made.stderr]).toEqual([0, expect.stringContaining('left out: line 5, id "t3"')]);
    expect(JSON.parse(made.stdout)).toMatchObject({ vectors: 3, leftOut: 1 });
    expect(json(["search", "--database", "texts", "--text", "train", "--top-k", "1"])).toMatchObject([{ id: "t2" }]);
    const other = jadeDb([...command, "--model", "another"]);
    expect([other.status, other.stderr]).toEqual([2, expect.stringContaining('names the model "glove-twitter-25d"')]);
    const words = join(directory, "small.txt");
    writeFileSync(
      words,
      texts
        .flatMap((text) => text.split(" "))
        .map((word, at) => `${word} ${at} 1\n`)
        .join(""),
    );
    expect(json(["model", "add", words, "small"])).toMatchObject({ outputDimension: 2 });
    const reembed = ["database", "reembed", "texts", "--model", "small", "--text-field", "body", "--wait"];
    expect(json(reembed)).toMatchObject({ state: "done", rows: 3, vectorDimension: 2 });
    expect(json(["search", "--database", "texts", "--text", "train", "--top-k", "1"])).toMatchObject([{ id: "t2" }]);
    json(["model", "delete", "small"]);
  });

  it("[EM-31] [EM-47] [EM-49] [EM-50] [EM-51] [EM-53] story 5.2: images and tensors in the server: registered from folders, embedded, stored, searched", () => {
    const folder = join(directory, "colours");
    mkdirSync(folder);
    // The mean of each colour of pictures of 8 x 8.
    const pooling = { op: "GlobalAveragePool", inputs: ["pixels"], output: "image_embeds" };
    const graph = (name: string, dims: readonly number[]) => [{ name, type: "float" as const, dims }];
    const [inputs, outputs] = [graph("pixels", [1, 3, 8, 8]), graph("image_embeds", [1, 3, 1, 1])];
    writeFileSync(join(folder, "model.onnx"), onnxFile({ nodes: [pooling], constants: [], inputs, outputs }));
    writeFileSync(join(folder, "preprocessor_config.json"), '{"size":{"height":8,"width":8},"do_normalize":false}');
    expect(json(["model", "add", folder])).toMatchObject({ family: "image", inputType: "image", outputDimension: 3 });
    const file = (name: string, bytes: Uint8Array): string => {
      writeFileSync(join(directory, name), bytes);
      return join(directory, name);
    };
    const black = file("black.png", bomb(9, 9, 9 * 28));
    expect(json(["embed", "--image", black, "--model", "colours"])).toMatchObject([
      { image: black, values: [0, 0, 0] },
    ]);
    json(["database", "create", "pictures", "--model", "colours", "--metric", "euclidean"]);
    expect(json(["database", "get", "pictures"]).embeddingModels).toMatchObject([{ inputType: "image" }]);
    json(["vector", "put", "p1", "--database", "pictures", "--image", black]);
    for (const [bytes, message] of [
      [bomb(8000, 5000, 100), "40000000 pixels; the limit is 12500000"],
      [Buffer.from("GIF89a"), "neither a PNG nor a JPEG"],
      [bomb(50, 50, 10), "cut off"],
    ] as const) {
      const refused = jadeDb(["vector", "put", "p2", "--database", "pictures", "--image", file("bad.png", bytes)]);
      expect([refused.status, refused.stderr]).toEqual([2, expect.stringContaining(message)]);
    }
    expect(json(["search", "--database", "pictures", "--image", black])).toMatchObject([{ id: "p1", score: 0 }]);
    expect(jadeDb(["embed", "king", "--model", "colours"]).stderr).toContain("the model takes image");

    const tensors = join(directory, "product");
    mkdirSync(tensors);
    const weight = externalTensor("weight", [3, 2], { file: "model.onnx_data", offset: 0, length: 24 });
    const product = onnxFile({
      nodes: [{ op: "MatMul", inputs: ["x", "weight"], output: "y" }],
      constants: [weight],
      ...{ inputs: graph("x", [1, 3]), outputs: graph("y", [1, 2]) },
    });
    writeFileSync(join(tensors, "model.onnx"), product);
    const declared = ["--inputs", '[{"name":"x","type":"float32","shape":[1,3]}]', "--no-normalize"];
    const without = jadeDb(["model", "add", tensors, ...declared]);
    expect([without.status, without.stderr]).toEqual([2, expect.stringContaining("weights are in model.onnx_data")]);
    writeFileSync(join(tensors, "model.onnx_data"), new Uint8Array(Float32Array.of(1, 2, 3, 4, 5, 6).buffer));
    expect(json(["model", "add", tensors, ...declared])).toMatchObject({ family: "tensor", outputDimension: 2 });
    const embed = (tensor: object) => ["embed", "--tensor", JSON.stringify(tensor), "--model", "product"];
    expect(json(embed({ x: { data: [1, 0, 2] } }))).toMatchObject([{ values: [11, 14] }]);
    expect(jadeDb(embed({ x: { data: [1, 0] } })).stderr).toContain("input[0].tensor has a x of 2 numbers");
    const database = ["--database", "products"];
    const x = (...data: number[]) => ["--tensor", JSON.stringify({ x: { data } })];
    json(["database", "create", "products", "--model", "product", "--metric", "euclidean"]);
    for (const [id, data] of [
      ["a", [1, 0, 2]],
      ["b", [0, 1, 0]],
    ] as const)
      json(["vector", "put", id, ...database, ...x(...data)]);
    expect(json(["search", ...database, ...x(0, 1, 0), "--values"])).toMatchObject([
      { id: "b", values: [3, 4], score: 0 },
      {},
    ]);
    json(["vector", "put", "b", ...database, "--update", ...x(2, 0, 0)]);
    expect(json(["vector", "get", "b", ...database])).toMatchObject({ values: [2, 4] });
    expect(jadeDb(["search", ...database, "--tensor", "[1]"]).stderr).toContain("--tensor must be a JSON object");
    for (const id of ["colours", "product"]) json(["model", "delete", id]);
  });

  it("imports, exports and verifies byte by byte", () => {
    const file = join(directory, "in.jsonl");
    const lines = Array.from({ length: 2000 }, (_, index) => `{"key":"imp/${index}","value":{"n":${index}.0,"s":"ü"}}`);
    writeFileSync(file, `${lines.join("\n")}\n`);
    const imported = jadeDb(["import", file, "--verify", "-o", "json"]);
    expect(imported.stderr).toContain("imported 2,000 keys");
    expect(JSON.parse(imported.stdout)).toMatchObject({ lines: 2000, verified: 2000 });
    expect(existsSync(`${file}.jade-import`)).toBe(false);
    const out = join(directory, "out.jsonl");
    expect(jadeDb(["export", out, "--verify", "--page-size", "300"]).status).toBe(0);
    const exported = readFileSync(out, "utf8")
      .split("\n")
      .filter((line) => line.includes('"imp/'));
    expect(exported.sort()).toEqual(lines.sort());
  });

  it("resumes an import that was killed, applying each line once", async () => {
    const file = join(directory, "big.jsonl");
    const text = Array.from(
      { length: 60_000 },
      (_, index) => `{"key":"res/${index}","value":"${"v".repeat(300)}${index}"}`,
    );
    writeFileSync(file, `${text.join("\n")}\n`);
    const child = spawn(process.execPath, [CLI, "import", file, "--concurrency", "64"], {
      env: { ...process.env, ...environment },
    });
    const done = () =>
      existsSync(`${file}.jade-import`) ? JSON.parse(readFileSync(`${file}.jade-import`, "utf8")).doneLines : 0;
    while (child.exitCode === null && done() === 0) await new Promise((resolve) => setTimeout(resolve, 20));
    child.kill("SIGKILL");
    const { stderr, stdout, status } = jadeDb(["import", file, "--verify", "-o", "json"]);
    expect(status).toBe(0);
    expect(stderr).toMatch(/going on after line \d+/);
    expect(JSON.parse(stdout)).toMatchObject({ lines: 60_000, verified: 60_000 });
  });

  it("names the line of a malformed file and refuses a changed one", () => {
    const file = join(directory, "bad.jsonl");
    writeFileSync(file, '{"key":"ok","value":1}\n{"key":"no value"}\n');
    const bad = jadeDb(["import", file]);
    expect([bad.status, bad.stderr]).toEqual([2, expect.stringContaining('line 2: has no "value"')]);
    appendFileSync(file, '{"key":"z","value":1}\n');
    expect(jadeDb(["import", file]).stderr).toContain("changed since its import stopped");
  });

  it("tells status and readiness", () => {
    expect(jadeDb(["ready"]).status).toBe(0);
    expect(json(["status"])).toBeTypeOf("object");
  });

  it("doctor finds nothing wrong with a healthy server, and bundles what it says without its key", () => {
    const bundle = join(directory, "bundle.gz");
    const args = ["doctor", "--data-dir", server.dataDir, "--bundle", bundle, "--log", server.logPath, "-o", "json"];
    const { stdout, status } = jadeDb(args);
    expect(status).toBe(0);
    const findings: { check: string; verdict: string }[] = JSON.parse(stdout);
    expect(findings.filter(({ verdict }) => verdict === "fail")).toEqual([]);
    const answered = ["server", "readiness", "clock", "data", "disk speed"];
    expect(findings.map(({ check }) => check)).toEqual(expect.arrayContaining(answered));
    const text = gunzipSync(readFileSync(bundle)).toString();
    expect(text).not.toContain(server.rootKey);
    expect(JSON.parse(text)).toMatchObject({
      status: { data: expect.anything() },
      metrics: expect.stringContaining("jade_"),
    });
  });
});
