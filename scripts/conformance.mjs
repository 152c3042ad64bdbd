// `npm run conformance`: the same commands of Debian's etcdctl against Debian's etcd and against a served JadeDB, as the table of
// docs/etcd.md. `-- --perf` runs `etcdctl check perf` too (a minute each), `-- --write` puts the table into the page.
import { readFileSync, writeFileSync } from "node:fs";
import { runConformance } from "../test/e2e/etcd/conformance.ts";
import { comparable } from "../test/e2e/etcd/etcdctl.ts";
import { startWithGrpc } from "../test/e2e/etcd/grpc-front.ts";
import { JSON_SEQUENCE } from "../test/e2e/etcd/json-sequence.ts";
import { RealEtcd, whyNoEtcd } from "../test/e2e/etcd/real-etcd.ts";

const PAGE = new URL("../docs/etcd.md", import.meta.url);
const [BEGIN, END] = ["<!-- conformance -->", "<!-- /conformance -->"];
const MOST_CHARACTERS = 76;

function cell(text) {
  const line = text.replaceAll("\n", " ⏎ ").replaceAll("|", "\\|").replaceAll("`", "'");
  const short = line.length > MOST_CHARACTERS ? `${line.slice(0, MOST_CHARACTERS - 1)}…` : line;
  return short === "" ? "(nothing)" : `\`${short}\``;
}

async function compareJson(etcdUrl, oursUrl) {
  const post = async (url, [path, body]) => {
    const response = await fetch(url + path, { method: "POST", body });
    return `${response.status} ${await response.text()}`;
  };
  const plain = (text) =>
    comparable(text)
      .replace(
        /"(cluster_id|member_id|raft_term|raftIndex|raftTerm|raftAppliedIndex|leader|dbSize|dbSizeInUse)":"\d+"/g,
        "",
      )
      .replace(/"hash":\d+/, "")
      .replace(/"ID":"\d{16,}"/g, "")
      .replace(/"leases":\[(.*)\]/, (_, list) => list.split(",").sort().join(","));
  let same = 0;
  for (const request of JSON_SEQUENCE) {
    const [theirs, ours] = [await post(etcdUrl, request), await post(oursUrl, request)];
    if (plain(theirs) === plain(ours)) same++;
    else console.error(`differs: ${request.join(" ")}\n  ${theirs}  ${ours}`);
  }
  return same;
}

const missing = whyNoEtcd();
if (missing) {
  console.error(missing);
  process.exit(1);
}
const extra = process.argv.includes("--perf") ? [{ args: "check perf" }] : [];
const etcd = await RealEtcd.start();
const { server, grpc } = await startWithGrpc();
const json = [await RealEtcd.start(), await startWithGrpc()];
let rows;
let same;
try {
  rows = await runConformance(etcd.url, `http://${grpc}`, extra);
  same = await compareJson(json[0].url, json[1].server.url);
} finally {
  await Promise.all([etcd.stop(), server.dispose(), json[0].stop(), json[1].server.dispose()]);
}
const lines = rows.map(({ command, etcd: theirs, ours, isSame }) => {
  return `| \`${command.replaceAll("|", "\\|").replaceAll("`", "'")}\` | ${cell(theirs)} | ${isSame ? "same" : cell(ours)} |`;
});
const sum = `${rows.filter(({ isSame }) => isSame).length} of ${rows.length} commands print the same and exit alike; ${same} of ${JSON_SEQUENCE.length} requests of the JSON API get the same status and text.`;
const table = ["| etcdctl | etcd 3.4.23 | here |", "|---|---|---|", ...lines, "", sum].join("\n");
console.log(table);
if (process.argv.includes("--write")) {
  const page = readFileSync(PAGE, "utf8");
  const [before, rest] = page.split(BEGIN);
  writeFileSync(PAGE, `${before}${BEGIN}\n${table}\n${END}${rest.split(END)[1]}`);
}
