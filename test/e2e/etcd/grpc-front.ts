// A served JadeDB with a gRPC front that listens. The front begins after what is behind it is ready.
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { freePort, type RunningServer, startServer } from "../../../scripts/lib/server-process.mjs";

const READY_TIMEOUT_MS = 20_000;

function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}

/** `grpc`: `127.0.0.1:port`. */
export async function startWithGrpc(args: readonly string[] = []): Promise<{ server: RunningServer; grpc: string }> {
  const port = await freePort();
  const server = await startServer({ args: ["--grpc-port", String(port), ...args] });
  const deadline = performance.now() + READY_TIMEOUT_MS;
  while (!(await listens(port))) {
    if (performance.now() > deadline) throw new Error("the gRPC front does not listen");
    await sleep(20);
  }
  return { server, grpc: `127.0.0.1:${port}` };
}
