// Rows of an answer, while they fit one message.
import type { Shown, VectorShown } from "../../wire/vector.ts";
import { VectorRefusal } from "../failure.ts";
import { MAX_SHARD_ANSWER_BYTES } from "./limits.ts";
import type { Located } from "./vector-store.ts";

export class AnswerBudget {
  #bytes = 0;

  get bytes(): number {
    return this.#bytes;
  }

  get isSpent(): boolean {
    return this.#bytes > MAX_SHARD_ANSWER_BYTES / 2;
  }

  /** Copies what is shown: rows may move before the answer is written. @throws VectorRefusal */
  show({ segment, row }: Located, shown: Shown): VectorShown {
    const { id, stamp } = segment.idOf(row);
    const values = shown.values ? segment.valuesOf(row).slice() : undefined;
    const metadata = shown.metadata ? segment.metadataOf(row).slice() : undefined;
    this.#bytes += id.length * 3 + 64 + (values?.length ?? 0) + (metadata?.length ?? 0);
    if (this.#bytes > MAX_SHARD_ANSWER_BYTES) {
      const message = `the answer is over ${MAX_SHARD_ANSWER_BYTES} bytes; ask for fewer rows, or without values and metadata`;
      throw new VectorRefusal("payloadTooLarge", message, { limit: MAX_SHARD_ANSWER_BYTES });
    }
    return { id, stamp, ...(values && { values }), ...(metadata && { metadata }) };
  }
}
