// A state with one version, as another replica would ship it.
import { encodeState } from "../../../src/kv/key-state.ts";

export function stateOf(writeId: Uint8Array, value: Uint8Array): Uint8Array {
  const dot = { actor: 99 * 4096 + 1, counter: 5 };
  const version = { writeId, dots: [dot], time: 5, restamped: false, value };
  return encodeState({ clock: { vector: [dot], dots: [], time: 5 }, unsettled: [], versions: [version] });
}
