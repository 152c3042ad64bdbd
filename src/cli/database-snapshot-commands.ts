// `jade-db database snapshot|restore|archive`: a vector database kept as it was, put aside, and brought back.
// Guarantees: a saved file is whole and checked, or not there; a damaged one is refused before anything is sent. Must not: hold more than a piece.
import { closeSync, createReadStream, existsSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from "node:fs";
import type { Command } from "commander";
import { type Databases, inspectVectorSnapshot, JadeError, type VectorSnapshotInfo } from "../client/index.ts";
import { withContext } from "./context.ts";
import { type NamespaceFlags, namespaceOption } from "./database-commands.ts";
import { CommandFailure, UsageError } from "./exit-codes.ts";

const tenant = { key: "tenant" } as const;
/** Of a file, read at once. Bytes. */
const PIECE_BYTES = 256 * 1024;

/** An action on the databases of the namespace; prints what it gives. */
function onDatabases<F extends NamespaceFlags>(
  run: (databases: Databases, args: readonly string[], flags: F) => Promise<object>,
) {
  return (...all: unknown[]): Promise<void> => {
    const [flags, command] = all.slice(-2) as [F, Command];
    return withContext(command, tenant, async ({ client, print }) => {
      print(await run(client.databases.namespace(flags.namespace ?? "default"), all.slice(0, -2) as string[], flags));
    });
  };
}

type Download = (onPiece: (piece: Uint8Array) => void) => Promise<VectorSnapshotInfo>;

async function save(file: string, download: Download): Promise<object> {
  const aside = `${file}.part`;
  const descriptor = openSync(aside, "w");
  let saved: VectorSnapshotInfo;
  try {
    saved = await download((piece) => {
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
  return { file, ...saved };
}

function piecesOf(file: string): AsyncIterable<Uint8Array> {
  if (!existsSync(file)) throw new UsageError(`${file} does not exist`);
  return createReadStream(file, { highWaterMark: PIECE_BYTES });
}

/** The file is read twice: nothing of a damaged one is sent. */
async function load(databases: Databases, id: string, file: string): Promise<object> {
  try {
    await inspectVectorSnapshot(piecesOf(file));
  } catch (error) {
    if (error instanceof JadeError && error.code === "badAnswer") throw new CommandFailure(`${file}: ${error.message}`);
    throw error;
  }
  return { file, ...(await databases.uploadSnapshot(id, piecesOf(file))) };
}

interface RestoreFlags extends NamespaceFlags {
  readonly snapshot?: string;
  readonly file?: string;
  readonly withoutDamaged?: true;
}

interface ExpiredFlags extends NamespaceFlags {
  readonly save?: string;
  readonly delete?: boolean;
}

async function expired(databases: Databases, id: string, flags: ExpiredFlags): Promise<object> {
  const held = await databases.expired(id);
  // What retention archives meanwhile is in no file, and stays.
  const { through } = held;
  const saved =
    flags.save && (await save(flags.save, (onPiece) => databases.downloadExpired(id, onPiece, { through })));
  if (flags.delete) await databases.deleteExpired(id, { through });
  return { ...(saved || held), ...(flags.delete && { deleted: true }) };
}

export function addDatabaseSnapshotCommands(database: Command): void {
  const snapshot = database.command("snapshot").description("what a database held, each shard at one revision");
  snapshot
    .command("take <databaseId> [snapshotId]")
    .description("keep what a database holds now; needs scope admin")
    .addOption(namespaceOption())
    .action(onDatabases((databases, [id, snapshotId]) => databases.takeSnapshot(id!, snapshotId)));
  snapshot
    .command("list <databaseId>")
    .description("list its snapshots")
    .addOption(namespaceOption())
    .action(onDatabases((databases, [id]) => databases.snapshots(id!)));
  snapshot
    .command("save <databaseId> <snapshotId> <file>")
    .description("write a snapshot's vectors to a file")
    .addOption(namespaceOption())
    .action(
      onDatabases((databases, [id, snapshotId, file]) =>
        save(file!, (onPiece) => databases.downloadSnapshot(id!, snapshotId!, onPiece)),
      ),
    );
  snapshot
    .command("delete <databaseId> <snapshotId>")
    .description("delete a snapshot; needs scope admin")
    .addOption(namespaceOption())
    .action(
      onDatabases(async (databases, [id, snapshotId]) => {
        await databases.deleteSnapshot(id!, snapshotId!);
        return { snapshotId, deleted: true };
      }),
    );
  database
    .command("restore <databaseId>")
    .description(
      "bring a database back from its archive, or back to a snapshot, or store a file's vectors; needs scope admin",
    )
    .option("--snapshot <id>", "put it back to what this snapshot holds")
    .option("--without-damaged", "leave out what of the snapshot is damaged, and tell it as missing")
    .option("--file <path>", "store the vectors of a saved snapshot, with their versions and times")
    .addOption(namespaceOption())
    .action(
      onDatabases<RestoreFlags>((databases, [id], { snapshot: snapshotId, file, withoutDamaged }) => {
        if (snapshotId !== undefined && file !== undefined) throw new UsageError("say --snapshot or --file, not both");
        if (withoutDamaged && snapshotId === undefined) throw new UsageError("--without-damaged goes with --snapshot");
        return file === undefined ? databases.restore(id!, snapshotId, { withoutDamaged }) : load(databases, id!, file);
      }),
    );
  database
    .command("expired <databaseId>")
    .description(
      "vectors that retention has archived: how many; --save writes them to a file, --delete (scope admin) deletes them",
    )
    .option("--save <file>", "write them to a file, which database restore --file takes")
    .option("--delete", "delete them, once they are saved if --save is given too")
    .addOption(namespaceOption())
    .action(onDatabases<ExpiredFlags>((databases, [id], flags) => expired(databases, id!, flags)));
  database
    .command("archive <databaseId>")
    .description("free a database's memory; its vectors are refused until it is restored; needs scope admin")
    .addOption(namespaceOption())
    .action(onDatabases((databases, [id]) => databases.archive(id!)));
}
