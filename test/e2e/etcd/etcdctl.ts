// Debian's etcdctl as a process, and its output without what differs by nature.
import { spawn } from "node:child_process";

const TIMEOUT_MS = 20_000;

export interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  /** Of stderr what etcdctl itself says, without its log lines. */
  readonly errors: string;
}

export function etcdctl(endpoint: string, args: readonly string[], input = "", timeout = TIMEOUT_MS): Promise<Outcome> {
  const env = { PATH: process.env["PATH"], ETCDCTL_API: "3" };
  const child = spawn("/usr/bin/etcdctl", ["--endpoints", endpoint, ...args], { env, timeout });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  // It may have ended before it reads.
  child.stdin.on("error", () => undefined);
  child.stdin.end(input);
  return new Promise((resolve) => {
    child.once("close", (code) => {
      const errors = stderr.split("\n").filter((line) => line !== "" && !line.startsWith("{"));
      resolve({ code, stdout, errors: errors.join("\n") });
    });
  });
}

/** Ids, terms, sizes, times and addresses stand as `…`. */
export function comparable(text: string): string {
  return text
    .replace(/"(cluster_id|member_id|raft_term|ID|leader)":\d+/g, '"$1":…')
    .replace(/"(ClusterID|MemberID|RaftTerm|ID)" : \d+/g, '"$1" : …')
    .replace(/http:\/\/127\.0\.0\.1:\d+/g, "http://…")
    .replace(/127\.0\.0\.1:\d+/g, "…")
    .replace(/took = [\d.µm]+s/g, "took = …")
    .replace(/\b[0-9a-f]{12,16}\b/g, "…")
    .replace(/remaining\(\d+s\)/g, "remaining(…)");
}
