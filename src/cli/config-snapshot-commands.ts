// `jade-db config snapshot save|restore|status`: a namespace at one revision as a checksummed file, and back.
// Guarantees: a saved file is whole and checked, or not there; a damaged one is refused before anything is sent. Must not: hold more
// than a piece.
import { randomUUID } from "node:crypto";
import { closeSync, createReadStream, existsSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from "node:fs";
import type { Command } from "commander";
import { type Config, type ConfigSnapshotInfo, inspectSnapshot, JadeError, writeIdFrom } from "../client/index.ts";
import { withConfig } from "./config-context.ts";
import type { GlobalFlags } from "./context.ts";
import { CommandFailure, UsageError } from "./exit-codes.ts";
import { formatted } from "./output.ts";
import { wholeNumber } from "./tenant-commands.ts";

/** Of a file, read at once. Bytes. */
const PIECE_BYTES = 256 * 1024;

async function save(space: Config, file: string): Promise<ConfigSnapshotInfo> {
  const aside = `${file}.part`;
  const descriptor = openSync(aside, "w");
  let saved: ConfigSnapshotInfo;
  try {
    saved = await space.snapshot((piece) => {
      for (let at = 0; at < piece.length; ) at += writeSync(descriptor, piece, at);
    });
    fsyncSync(descriptor);
  } catch (error) {
    rmSync(aside, { force: true });
    throw error;
  } finally {
    closeSync(descriptor);
  }
  renameSync(aside, file);
  return saved;
}

function piecesOf(file: string): AsyncIterable<Uint8Array> {
  if (!existsSync(file)) throw new UsageError(`${file} does not exist`);
  return createReadStream(file, { highWaterMark: PIECE_BYTES });
}

async function inspect(file: string): Promise<ConfigSnapshotInfo> {
  try {
    return await inspectSnapshot(piecesOf(file));
  } catch (error) {
    if (error instanceof JadeError && error.code === "badAnswer") throw new CommandFailure(`${file}: ${error.message}`);
    throw error;
  }
}

interface RestoreFlags {
  readonly aboveRevision?: number;
}

export function addSnapshotCommands(config: Command): void {
  const snapshot = config.command("snapshot").description("a namespace at one revision, with revisions and leases");
  snapshot
    .command("save <file>")
    .description("write a snapshot to a file")
    .action((file: string, _: object, command: Command) =>
      withConfig(command, async ({ config: space, print }) => print({ file, ...(await save(space, file)) })),
    );
  snapshot
    .command("restore <file>")
    .description("replace the namespace by a snapshot, in one step; needs an admin key")
    .option(
      "--above-revision <n>",
      "its revision will be above this: what clients of a lost server have seen",
      wholeNumber,
    )
    .action((file: string, flags: RestoreFlags, command: Command) =>
      withConfig(command, async ({ config: space, print }) => {
        await inspect(file);
        const writeId = await writeIdFrom(randomUUID());
        print({ file, ...(await space.restore(piecesOf(file), { ...flags, writeId })) });
      }),
    );
  snapshot
    .command("status <file>")
    .description("check a snapshot's file and say what it holds; asks no server")
    .action(async (file: string, _: object, command: Command) => {
      const { output } = command.optsWithGlobals<GlobalFlags>();
      console.log(formatted({ file, ...(await inspect(file)) }, output));
    });
}
