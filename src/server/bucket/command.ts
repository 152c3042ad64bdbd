// `jade-db dev-bucket`: the development bucket as a process of its own. Started by `jade-db cluster start`; not for data that matters.
import type { Command } from "commander";
import { exitCodes } from "../problem.ts";
import { startBucket } from "./server.ts";
import { BucketStore } from "./store.ts";

interface BucketFlags {
  readonly dataDir: string;
  readonly port: string;
  readonly bucket: string;
}

/** Credentials come by `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, as the instances'. */
async function runBucket({ dataDir, port, bucket }: BucketFlags): Promise<void> {
  const { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey } = process.env;
  if (!accessKeyId || !secretAccessKey) {
    console.error(
      "jade-db: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY must be set: they are what requests are signed with",
    );
    process.exit(exitCodes.invalidConfiguration);
  }
  const store = await BucketStore.open(dataDir);
  const { port: bound, server } = await startBucket(
    { store, bucket, credentials: { accessKeyId, secretAccessKey } },
    Number(port),
  );
  const kind = `process ${process.pid}; for development and tests only: one copy on one disk`;
  console.log(`bucket     http://127.0.0.1:${bound} (${kind})`);
  // What was answered is on disk; what was not may be cut off.
  for (const signal of ["SIGTERM", "SIGINT"] as const)
    process.on(signal, () => {
      server.closeAllConnections();
      server.close(() => process.exit(exitCodes.ok));
    });
}

export function registerBucket(program: Command): void {
  program
    .command("dev-bucket", { hidden: true })
    .description("an S3-compatible bucket on this machine's disk, for development and tests only")
    .requiredOption("--data-dir <directory>", "where its objects are kept")
    .option("--bucket <name>", "its name", "jade")
    .option("--port <number>", "port on 127.0.0.1; 0 takes a free one", "0")
    .action(runBucket);
}
