// The network of shapes in models/, as a tenant would run it: files of images it has never seen, through decoder, preprocessor and graph.
import { readFileSync, statSync } from "node:fs";
import sharp from "sharp";
import { describe, expect, it } from "vitest";
import { decodeImage } from "../../../objects/image-decoder.ts";
import { openGraph } from "../../../objects/onnx-runtime.ts";
import { drawn, precision, SHAPES, seeded } from "../../../scripts/lib/shapes.ts";
import { GraphEncoder } from "../../../src/embedding/graph/encoder.ts";
import { preprocessorOf } from "../../../src/embedding/image/preprocessor.ts";
import { EmbeddingRefusal } from "../../../src/embedding/refusal.ts";

const FOLDER = "models/shapes-cnn";

describe("the network of shapes", () => {
  it("[EM-52] story 5.2: finds the same shape among pictures it has never seen, better than raw pixels do; it is small", async () => {
    const graph = readFileSync(`${FOLDER}/model.onnx`);
    expect(statSync(`${FOLDER}/model.onnx`).size).toBeLessThan(200_000);
    const config = JSON.parse(readFileSync(`${FOLDER}/preprocessor_config.json`, "utf8"));
    const how = { ...preprocessorOf(config), decode: decodeImage };
    const encoder = await GraphEncoder.ofImages(await openGraph({ graph, weights: new Map() }), how, {
      pooling: "cls",
    });
    expect(encoder.dimension).toBe(32);
    const random = seeded(2026);
    const pictures = Array.from({ length: 200 }, (_, at) => drawn(at % SHAPES.length, random));
    const labels = pictures.map((_, at) => at % SHAPES.length);
    const files = await Promise.all(
      pictures.map(({ width, height, data }) =>
        sharp(data, { raw: { width, height, channels: 3 } })
          .png()
          .toBuffer(),
      ),
    );
    const outcomes = await encoder.run(files.map((image) => ({ image })));
    const vectors = outcomes.map((outcome) => (outcome instanceof EmbeddingRefusal ? [] : outcome.values));
    const raw = precision(
      pictures.map(({ data }) => Array.from(data, (value) => value - 128)),
      labels,
    );
    const made = precision(vectors, labels);
    // Of ten shapes a tenth is right by chance.
    expect(raw).toBeLessThan(0.2);
    expect(made).toBeGreaterThan(2 * raw);
    await encoder.release();
  });
});
