// The blob store contract on workerd's real `disk` service.
import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll } from "vitest";
import { freePort } from "../../scripts/lib/server-process.mjs";
import { workerdBinary } from "../../src/server/workerd-binary.ts";
import { DiskBlobStore } from "../../src/storage/disk-blob-store.ts";
import { blobStoreContract } from "../unit/storage/blob-store.contract.ts";
import { temporaryDir } from "./serve-process.ts";

const directory = temporaryDir();
let child: ChildProcess | undefined;
let port = 0;

beforeAll(async () => {
  port = await freePort();
  mkdirSync(join(directory, "blobs"));
  const path = join(directory, "disk.capnp");
  writeFileSync(
    path,
    `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "blobs", disk = (path = "${join(directory, "blobs")}", writable = true))],
  sockets = [(name = "http", address = "127.0.0.1:${port}", http = (), service = "blobs")],
);
`,
  );
  child = spawn(workerdBinary(), ["serve", path], { stdio: "ignore" });
  for (let i = 0; i < 100; i++) {
    try {
      await fetch(`http://127.0.0.1:${port}/`);
      return;
    } catch {
      await sleep(50);
    }
  }
  throw new Error("workerd did not start");
});

afterAll(() => {
  child?.kill("SIGKILL");
  rmSync(directory, { recursive: true, force: true });
});

blobStoreContract("disk service", () => {
  return new DiskBlobStore({
    fetch: (url, init) => fetch(url.replace("http://disk", `http://127.0.0.1:${port}`), init as RequestInit),
  });
});
