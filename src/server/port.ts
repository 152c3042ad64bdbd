// Looks whether an address is free before anything is started, so that the message can be plain.

import { createServer } from "node:net";
import { OperatorError, systemCode } from "./problem.ts";

function explain(code: string | undefined, host: string, port: number): string {
  switch (code) {
    case "EADDRINUSE":
      return `port ${port} on ${host} is already in use. Stop the other program, or choose another port with --port`;
    case "EACCES":
      return `port ${port} needs privileges: choose one above 1023 with --port`;
    case "EADDRNOTAVAIL":
    case "ENOTFOUND":
      return `${host} is not an address of this machine: choose another with --host`;
    default:
      return `cannot listen on ${host}:${port} (${code ?? "unknown reason"})`;
  }
}

/** @throws OperatorError when nobody could listen there. Port 0 always can. */
export async function assertPortFree(host: string, port: number): Promise<void> {
  if (port === 0) return;
  const bare = host.replace(/^\[(.*)\]$/, "$1");
  await new Promise<void>((resolve, reject) => {
    const probe = createServer();
    probe.once("error", (cause) => reject(new OperatorError(explain(systemCode(cause), host, port), { cause })));
    probe.listen({ host: bare, port, exclusive: true }, () => probe.close(() => resolve()));
  });
}

const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|::1|\[::1\])$/i;

/** True for an address that only this machine reaches. */
export function isLoopback(host: string): boolean {
  return LOOPBACK.test(host);
}

/** `host:port` as workerd and URLs write it: IPv6 in brackets. */
export function joinAddress(host: string, port: number): string {
  return host.includes(":") && !host.startsWith("[") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Where this machine itself reaches a listener on `host`: a wildcard is reached over loopback. */
export function localUrl(host: string, port: number): string {
  if (host === "0.0.0.0") return `http://127.0.0.1:${port}`;
  if (host === "::" || host === "[::]") return `http://[::1]:${port}`;
  return `http://${joinAddress(host, port)}`;
}
