// A certificate and its key, from two PEM files: read, judged, and read again when they change.
// Guarantees: only a pair that fits is ever served; a pair that does not leaves the last good one in place. Must not: print a key.
import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { LOOK_EVERY_MS } from "./limits.ts";

export interface CertificateFiles {
  readonly certFile: string;
  readonly keyFile: string;
}

export interface Certificate {
  /** PEM, the chain behind it. */
  readonly cert: Buffer;
  readonly key: Buffer;
  readonly validToMs: number;
}

/** Which of both files is wrong, and why. */
export class BadCertificate extends Error {
  readonly file: "cert" | "key";
  constructor(file: "cert" | "key", why: string) {
    super(why);
    this.file = file;
  }
}

function read<T>(file: BadCertificate["file"], path: string, parse: (bytes: Buffer) => T): [Buffer, T] {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch (cause) {
    throw new BadCertificate(file, `cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`);
  }
  try {
    return [bytes, parse(bytes)];
  } catch {
    // OpenSSL's message names a place in its own sources.
    throw new BadCertificate(
      file,
      file === "cert" ? "is no PEM certificate" : "is no PEM private key without password",
    );
  }
}

/** @throws BadCertificate */
export function readCertificate({ certFile, keyFile }: CertificateFiles): Certificate {
  const [cert, parsed] = read("cert", certFile, (bytes) => new X509Certificate(bytes));
  const [key, privateKey] = read("key", keyFile, (bytes) => createPrivateKey(bytes));
  if (!parsed.checkPrivateKey(privateKey)) throw new BadCertificate("key", `is not the key of ${certFile}`);
  return { cert, key, validToMs: Date.parse(parsed.validTo) };
}

export interface CertificateUser {
  setSecureContext(options: { readonly cert: Buffer; readonly key: Buffer }): void;
}

/** Gives `user` the files' new content whenever it changes and fits. Gives the way to end that. */
export function keepCertificate(
  files: CertificateFiles,
  user: CertificateUser,
  { report, everyMs = LOOK_EVERY_MS }: { readonly report: (line: string) => void; readonly everyMs?: number },
): () => void {
  let last = readCertificate(files);
  let complaint = "";
  const look = (): void => {
    try {
      const now = readCertificate(files);
      complaint = "";
      if (now.cert.equals(last.cert) && now.key.equals(last.key)) return;
      user.setSecureContext({ cert: now.cert, key: now.key });
      last = now;
      report(`the certificate ${files.certFile} was read again: valid to ${new Date(now.validToMs).toISOString()}`);
    } catch (error) {
      // One file may have been replaced before the other: the next look finds both.
      const why = `${files.certFile}, ${files.keyFile}: ${error instanceof Error ? error.message : String(error)}`;
      if (why !== complaint) report(`the certificate stays as it was. ${why}`);
      complaint = why;
    }
  };
  const timer = setInterval(look, everyMs).unref();
  return () => clearInterval(timer);
}
