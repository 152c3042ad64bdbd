// A call of v3electionpb.Election/Observe over plain HTTP/2, for which no client package is at hand.
import { connect } from "node:http2";
import { LeaderRequest, LeaderResponse } from "../../../src/etcd/messages-lock.ts";
import { messageOfBytes, ProtobufWriter } from "../../../src/etcd/protobuf.ts";

const FRAME_HEADER_BYTES = 5;

/** `values`: what leaders have said so far. */
export function observe(url: string, name: string): { readonly values: string[]; close(): void } {
  const session = connect(url);
  const stream = session.request({
    ...{ ":method": "POST", ":path": "/v3electionpb.Election/Observe" },
    ...{ "content-type": "application/grpc", te: "trailers" },
  });
  const writer = new ProtobufWriter(64);
  writer.reset(FRAME_HEADER_BYTES);
  writer.message(LeaderRequest, { name });
  const frame = Buffer.from(writer.take());
  frame.writeUInt32BE(frame.length - FRAME_HEADER_BYTES, 1);
  stream.end(frame);
  const values: string[] = [];
  let held = Buffer.alloc(0);
  stream.on("data", (chunk: Buffer) => {
    held = Buffer.concat([held, chunk]);
    for (;;) {
      const end = FRAME_HEADER_BYTES + (held.length < FRAME_HEADER_BYTES ? 0 : held.readUInt32BE(1));
      if (held.length < FRAME_HEADER_BYTES || held.length < end) break;
      const { kv } = messageOfBytes(LeaderResponse, held.subarray(FRAME_HEADER_BYTES, end));
      values.push(Buffer.from(kv?.value ?? []).toString());
      held = held.subarray(end);
    }
  });
  // Cut off at the end of the test.
  stream.on("error", () => undefined);
  session.on("error", () => undefined);
  return { values, close: () => session.destroy() };
}
