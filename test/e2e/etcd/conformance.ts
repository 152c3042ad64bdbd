// One scripted sequence of etcdctl commands and JSON requests against the real etcd and a served JadeDB: what each answers, and whether it is the
// same but for ids, terms, sizes, times and addresses. The table of docs/etcd.md is made from it (scripts/conformance.mjs).
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { comparable, etcdctl } from "./etcdctl.ts";
import { ETCDCTL_SEQUENCE, type Step } from "./etcdctl-sequence.ts";

export interface ConformanceRow {
  readonly command: string;
  readonly etcd: string;
  readonly ours: string;
  readonly isSame: boolean;
}

/** `FILE`: of the endpoint's own. */
const SNAPSHOT_STEPS: readonly Step[] = [
  { args: "snapshot save FILE" },
  { args: "snapshot status FILE -w json" },
  { args: "snapshot restore FILE --data-dir FILE.etcd" },
  { args: "member list" },
  { args: "member list -w json" },
  { args: "endpoint status" },
  { args: "endpoint hashkv" },
  { args: "user list" },
  { args: "role list" },
  { args: "user add someone:secret" },
  { args: "member remove 1" },
  { args: "move-leader 1" },
  { args: "auth enable" },
];

/** Of `check perf`, behind its progress. */
const RESULTS = /(PASS|FAIL|Slowest|Stddev|Throughput)[^\n\r]*/g;

interface Endpoint {
  readonly url: string;
  readonly file: string;
  lease: string;
}

async function runStep(endpoint: Endpoint, { args, input }: Step): Promise<string> {
  const words = args.split(" ").map((word) => word.replace("$LEASE", endpoint.lease).replace("FILE", endpoint.file));
  const { code, stdout, errors } = await etcdctl(endpoint.url, words, input);
  const granted = /lease ([0-9a-f]+) granted/.exec(stdout)?.[1];
  if (granted !== undefined) endpoint.lease = granted;
  const shown = args === "check perf" ? (stdout.match(RESULTS) ?? []).join("\n") : stdout;
  const text = `${shown}${errors}`.trim().replaceAll(endpoint.file, "FILE");
  return comparable(code === 0 ? text : `${text} (exit ${code})`);
}

async function runStreams({ url }: Endpoint): Promise<readonly (readonly [string, string])[]> {
  const watching = etcdctl(url, ["watch", "seen", "--prefix", "--prev-kv"], "", 4000);
  await sleep(1500);
  for (const args of ["put seen/1 a", "put seen/1 b", "put other c", "del seen/1"]) await etcdctl(url, args.split(" "));
  const locked = await etcdctl(url, ["lock", "the-lock", "echo", "locked"]);
  const elected = await etcdctl(url, ["elect", "the-election", "me"], "", 2000);
  const followed = etcdctl(url, ["elect", "-l", "the-election"], "", 3000);
  await sleep(500);
  await etcdctl(url, ["elect", "the-election", "other"], "", 1500);
  return [
    ["watch seen --prefix --prev-kv (while 4 writes)", comparable((await watching).stdout.trim())],
    ["lock the-lock echo locked", comparable(locked.stdout.trim())],
    ["elect the-election me", comparable(elected.stdout.trim())],
    ["elect -l the-election (while another is elected)", comparable((await followed).stdout.trim())],
  ];
}

/** Of etcdctl. `extra`: commands besides, such as long ones. */
export async function runConformance(
  etcdUrl: string,
  oursUrl: string,
  extra: readonly Step[] = [],
): Promise<readonly ConformanceRow[]> {
  const dir = mkdtempSync(join(tmpdir(), "jade-conformance-"));
  const theirs: Endpoint = { url: etcdUrl, file: join(dir, "etcd.db"), lease: "" };
  const ours: Endpoint = { url: oursUrl, file: join(dir, "jade.db"), lease: "" };
  const rows: ConformanceRow[] = [];
  const add = (command: string, etcd: string, own: string): void => {
    rows.push({ command, etcd, ours: own, isSame: etcd === own });
  };
  try {
    const [etcdStreams, ownStreams] = await Promise.all([runStreams(theirs), runStreams(ours)]);
    for (const [index, [command, etcd]] of etcdStreams.entries()) add(command, etcd, ownStreams[index]![1]);
    for (const step of [...ETCDCTL_SEQUENCE, ...extra, ...SNAPSHOT_STEPS]) {
      const [etcd, own] = await Promise.all([runStep(theirs, step), runStep(ours, step)]);
      add(step.input === undefined ? step.args : `${step.args} <<< ${JSON.stringify(step.input.trim())}`, etcd, own);
    }
    return rows;
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}
