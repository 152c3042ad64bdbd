// Certificates for tests, made by openssl. Must not: be part of what is shipped.
import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { CertificateFiles } from "./certificate.ts";

export function hasOpenssl(): boolean {
  try {
    execFileSync("openssl", ["version"], { stdio: "ignore" });
    return true;
  } catch {
    return false; // the tests say so
  }
}

/** Signed by itself, for 127.0.0.1 and localhost. */
export function selfSigned(directory: string, name: string): CertificateFiles {
  mkdirSync(directory, { recursive: true });
  const files = { certFile: join(directory, `${name}.pem`), keyFile: join(directory, `${name}.key`) };
  const kind = ["-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-days", "30"];
  const names = ["-subj", `/CN=${name}`, "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"];
  execFileSync("openssl", ["req", ...kind, ...names, "-keyout", files.keyFile, "-out", files.certFile], {
    stdio: "ignore",
  });
  return files;
}
