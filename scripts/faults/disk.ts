// A disk of its own for each instance, so that one can be filled: an ext4 file system in a file, by a loop device.
// Guarantees: `close` leaves nothing mounted. Needs the right to mount (root).
import { spawnSync } from "node:child_process";
import { mkdirSync, rmSync, statfsSync, truncateSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";

/** A sparse file: takes what is written. */
const DISK_BYTES = 384 * 2 ** 20;
const PART = Buffer.alloc(2 ** 20, 1);
const SMALL = Buffer.alloc(4096, 1);

function run(command: string, ...args: readonly string[]): void {
  const { status, stderr, error } = spawnSync(command, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`${command} ${args.join(" ")}: ${error ?? stderr.trim()}`);
}

export class Disk {
  readonly path: string;
  readonly #image: string;

  private constructor(path: string) {
    this.path = path;
    this.#image = `${path}.disk`;
  }

  /** Why this machine permits none; undefined = it does. */
  static refusal(directory: string): string | undefined {
    try {
      Disk.open(join(directory, "try")).close();
      return undefined;
    } catch (error) {
      return String(error);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  }

  static open(path: string, sizeBytes = DISK_BYTES): Disk {
    const disk = new Disk(path);
    mkdirSync(path, { recursive: true });
    writeFileSync(disk.#image, "");
    truncateSync(disk.#image, sizeBytes);
    // Nothing is set aside for root, as whom we run.
    run("mkfs.ext4", "-q", "-m", "0", disk.#image);
    run("mount", "-o", "loop", disk.#image, path);
    return disk;
  }

  get #filler(): string {
    return join(this.path, "filler");
  }

  /** Until nothing more goes in. True = something went in. */
  async fill(): Promise<boolean> {
    const file = await open(this.#filler, "a");
    let written = 0;
    try {
      for (const part of [PART, SMALL]) {
        for (;;) {
          try {
            const { bytesWritten } = await file.write(part);
            written += bytesWritten;
            if (bytesWritten < part.length) break;
          } catch (error) {
            if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
            break;
          }
        }
      }
      if (written > 0) await file.sync().catch(() => undefined); // it is full, which is what is wanted
    } finally {
      await file.close();
    }
    return written > 0;
  }

  get freeBytes(): number {
    const { bavail, bsize } = statfsSync(this.path);
    return bavail * bsize;
  }

  empty(): void {
    rmSync(this.#filler, { force: true });
  }

  close(): void {
    spawnSync("umount", ["-l", this.path]);
    rmSync(this.#image, { force: true });
  }
}
