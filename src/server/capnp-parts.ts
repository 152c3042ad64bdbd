// What the configurations of all workerd processes have in common. Pure text from its inputs.
import { capnpText } from "./capnp-text.ts";

export const COMPATIBILITY_DATE = "2026-11-01";
/**
 * Timers that are Node objects cost twice what plain ones do, and every request sets one. A WebSocket that compresses costs 340 KB
 * of memory instead of 90.
 */
export const COMPATIBILITY_FLAGS: readonly string[] = ["no_nodejs_global_timers", "no_web_socket_compression"];

export interface WorkerModule {
  /** As other modules import it, without `./`. The file lies beside the configuration under the same name. */
  readonly name: string;
  readonly kind: "esModule" | "wasm" | "text" | "data";
}

export function textBinding(name: string, value: string): string {
  return `(name = ${capnpText(name)}, text = ${capnpText(value)})`;
}

export function list(items: readonly string[]): string {
  return `[\n    ${items.join(",\n    ")}\n  ]`;
}

export function embeds(modules: readonly WorkerModule[], directory = ""): string {
  return list(
    modules.map(({ name, kind }) => `(name = ${capnpText(name)}, ${kind} = embed ${capnpText(directory + name)})`),
  );
}

/** The host of the CONNECT request that begins a connection for calls: any name, the same on both ends. */
const CALLS = 'http = (capnpConnectHost = "calls")';

/** Another process of ours. `socket` is relative: a unix socket's path must be short, a data directory's may be long. */
export function externalService(name: string, socket: string): string {
  return `(name = ${capnpText(name)}, external = (address = ${capnpText(`unix:${socket}`)}, ${CALLS}))`;
}

interface CallSocket {
  readonly name: string;
  /** A file in the directory that workerd is started in, which only our user enters. */
  readonly socket: string;
  readonly service: string;
}

export function callSocket({ name, socket, service }: CallSocket): string {
  return `(name = ${capnpText(name)}, address = ${capnpText(`unix:${socket}`)}, ${CALLS}, service = ${service})`;
}
