// Trains models/shapes-cnn: a small convolutional network that sees which shape a picture shows, whatever its colours, place, size and turn.
// The pictures are drawn by scripts/lib/shapes.ts; nothing is downloaded, and a seed tells every number: the same machine gives the same file.
// Usage: npx node scripts/shapes-cnn.ts

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ClassifierNet } from "./lib/conv-net.ts";
import { root } from "./lib/root.mjs";
import { drawn, precision, SHAPES, SIDE, seeded } from "./lib/shapes.ts";

const OUT = join(root, "models/shapes-cnn");
const TRAINED = 4000;
const BATCH = 10;
const EPOCHS = 4;
/** After so many the rate of learning would be 0. */
const RATE_EPOCHS = 10;

/** Channels first, from -1 to 1. */
function inputOf({ data }: { readonly data: Uint8Array }): Float32Array {
  const pixels = SIDE * SIDE;
  const input = new Float32Array(data.length);
  for (let at = 0; at < data.length; at++) input[(at % 3) * pixels + Math.floor(at / 3)] = data[at]! / 127.5 - 1;
  return input;
}

function judge(): void {
  const random = seeded(99);
  const pictures = Array.from({ length: 300 }, (_, at) => drawn(at % SHAPES.length, random));
  const labels = pictures.map((_, at) => at % SHAPES.length);
  const inputs = pictures.map(inputOf);
  const pixels = precision(
    inputs.map((input) => Array.from(input)),
    labels,
  );
  const made = precision(
    inputs.map((input) => Array.from(net.vector(input))),
    labels,
  );
  console.log(`of the ten nearest, the same shape: raw pixels ${pixels.toFixed(3)}, the model ${made.toFixed(3)}`);
}

function write(): void {
  mkdirSync(OUT, { recursive: true });
  writeFileSync(join(OUT, "model.onnx"), net.onnx());
  const half = [0.5, 0.5, 0.5];
  const size = { height: SIDE, width: SIDE };
  const how = { do_resize: true, size, resample: 2, do_normalize: true, image_mean: half, image_std: half };
  writeFileSync(
    join(OUT, "preprocessor_config.json"),
    `${JSON.stringify(how, null, 2).replace(/\[[^\]]*\]/g, (list) => JSON.stringify(JSON.parse(list)).replaceAll(",", ", "))}\n`,
  );
  judge();
}

const net = new ClassifierNet({ side: SIDE, classes: SHAPES.length, random: seeded(1) });
const random = seeded(7);
const pictures = Array.from({ length: TRAINED }, (_, at) => {
  const label = at % SHAPES.length;
  return { label, input: inputOf(drawn(label, random)) };
});
for (let epoch = 0; epoch < EPOCHS; epoch++) {
  const started = performance.now();
  let loss = 0;
  for (let at = pictures.length - 1; at > 0; at--) {
    const other = Math.floor(random() * (at + 1));
    [pictures[at], pictures[other]] = [pictures[other]!, pictures[at]!];
  }
  for (let from = 0; from < pictures.length; from += BATCH) {
    for (const { input, label } of pictures.slice(from, from + BATCH)) loss += net.learn(input, label);
    net.step(0.003 * (1 - epoch / RATE_EPOCHS));
  }
  console.log(
    `epoch ${epoch + 1}: loss ${(loss / TRAINED).toFixed(4)}, ${((performance.now() - started) / 1000).toFixed(0)} s`,
  );
}
write();
