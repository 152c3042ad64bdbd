// Feature flags with a rollout by percent: flags are held in memory, kept fresh by a watch, and decided without a request.
// Shows: config.cached, `atLeast` to see one's own write. A user stays in the rollout while it grows.
// Run: JADE_URL=… JADE_API_KEY=… node docs/examples/feature-flags.mjs
import { createHash } from "node:crypto";
import { JadeClient } from "../../dist/client/index.js";

const { JADE_URL = "http://127.0.0.1:8787", JADE_API_KEY: apiKey } = process.env;
const client = new JadeClient({ url: JADE_URL, apiKey });
const config = client.config.namespace("example-flags");
const flags = await config.cached({ prefix: "flags/" });

/** 0 to 99, the same for a user and a flag at all times. */
function bucket(name, user) {
  return createHash("sha256").update(`${name}\n${user}`).digest().readUInt32BE(0) % 100;
}

function isOn(name, user) {
  const flag = flags.get(`flags/${name}`)?.value;
  if (!flag?.enabled) return false;
  return flag.users?.includes(user) || bucket(name, user) < flag.percent;
}

const users = Array.from({ length: 1000 }, (_, i) => `user-${i}`);
const on = () => new Set(users.filter((user) => isOn("new-checkout", user)));
const set = async (flag) => {
  const { revision } = await config.put("flags/new-checkout", flag);
  await flags.atLeast(revision);
  return on();
};

const few = await set({ enabled: true, percent: 5, users: ["user-7"] });
const half = await set({ enabled: true, percent: 50, users: ["user-7"] });
const all = await set({ enabled: true, percent: 100 });
const none = await set({ enabled: false, percent: 100 });
const stays = [...few].every((user) => half.has(user));
console.log(JSON.stringify({ few: few.size, half: half.size, all: all.size, none: none.size, stays }));
flags.close();
client.close();
