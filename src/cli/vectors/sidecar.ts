// The ids and metadata of formats that hold values only: `<file>.rows.jsonl`, {"id": …, "metadata": {…}} a line, in the rows' order.
// Guarantees: a sidecar with more or fewer lines than the file has rows is an error.
import { memberText } from "../../client/raw-json.ts";
import {
  checkedRow,
  type FileRow,
  isObject,
  malformed,
  type ReadOptions,
  textLines,
  type VectorFile,
  type VectorRow,
} from "./rows.ts";
import type { BareRow } from "./vecs.ts";

export const SIDECAR_SUFFIX = ".rows.jsonl";

type Named = Pick<VectorRow, "id" | "metadata">;

async function* namesOf(file: VectorFile): AsyncGenerator<Named, void, undefined> {
  for await (const { text, number: lineNumber } of textLines(file)) {
    if (text.trim() === "") continue;
    let json: unknown;
    try {
      json = JSON.parse(text);
    } catch {
      // Told below, as a line without an id.
    }
    const refuse = (what: string) => malformed(file, `line ${lineNumber}`, what);
    if (!isObject(json) || typeof json["id"] !== "string") throw refuse('must be {"id": …, "metadata": {…}}');
    if (json["metadata"] !== undefined && !isObject(json["metadata"])) throw refuse("metadata must be a JSON object");
    yield { id: json["id"], metadata: json["metadata"] && memberText(text, "metadata") };
  }
}

/** Rows with the sidecar's ids, or with made ones where there is none. */
export async function* withNames(
  file: VectorFile,
  rows: AsyncGenerator<BareRow, void, undefined>,
  { idPrefix, sidecar }: ReadOptions & { readonly sidecar?: VectorFile | undefined },
): AsyncGenerator<FileRow, void, undefined> {
  const names = sidecar && idPrefix === undefined ? namesOf(sidecar) : undefined;
  try {
    for await (const row of rows) {
      const place = `row ${row.number}`;
      const next = names && (await names.next());
      if (next?.done) throw malformed(sidecar!, "", `ends before ${place} of ${file.name}`);
      const named: Named = next ? next.value : { id: `${idPrefix ?? ""}${row.number - 1}`, metadata: undefined };
      yield checkedRow(file, { ...row, ...named, place });
    }
    if (names && !(await names.next()).done) throw malformed(sidecar!, "", `has more lines than ${file.name} has rows`);
  } finally {
    await names?.return();
  }
}

export function sidecarText({ id, metadata }: VectorRow): string {
  return metadata === undefined
    ? `{"id":${JSON.stringify(id)}}\n`
    : `{"id":${JSON.stringify(id)},"metadata":${metadata}}\n`;
}
