// The files of a model in ONNX: one graph, its weights beside it where they do not fit in, and what its makers say of it.
import { badFile, invalid } from "../refusal.ts";

export const isGraph = (name: string): boolean => name.endsWith(".onnx");

/** @throws EmbeddingRefusal */
export function requireGraph(files: readonly { readonly name: string }[], family: string): readonly string[] {
  const names = files.map(({ name }) => name);
  const graphs = names.filter(isGraph).length;
  if (graphs !== 1) throw invalid("files", `name ${graphs} .onnx files; a model of the family ${family} has one`);
  return names;
}

export interface GraphFiles {
  readonly graph: Uint8Array;
  /** External data, by the names that the graph has for them. */
  readonly weights: ReadonlyMap<string, Uint8Array>;
  readonly bytes: number;
}

export function graphFiles(files: ReadonlyMap<string, Uint8Array>): GraphFiles {
  const all = [...files];
  const [, graph] = all.find(([name]) => isGraph(name))!;
  const weights = new Map(all.filter(([name]) => !isGraph(name) && !name.endsWith(".json")));
  return { graph, weights, bytes: [graph, ...weights.values()].reduce((sum, { length }) => sum + length, 0) };
}

/** @throws EmbeddingRefusal */
export function jsonOf(name: string, bytes: Uint8Array | undefined): Record<string, unknown> {
  if (!bytes) return {};
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    throw badFile(`${name} is no JSON`);
  }
  if (typeof json === "object" && json !== null && !Array.isArray(json)) return json as Record<string, unknown>;
  throw badFile(`${name} is no JSON object`);
}
