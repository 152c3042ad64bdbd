// The JSON faces by wrk: etcd's gateway, ours of the same paths, and REST; before and after each of ours etcd is measured.

import { treeCpuMs } from "../../lib/server-process.mjs";
import { settle } from "./loader.mjs";
import { round } from "./report.mjs";
import { wrk } from "./wrk.mjs";

const KEYS = 20_000;

/** Lua: base64 of `live-<n>` for all n is made once. */
const prelude = (headers) => `
local alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'
local function base64(text)
  local out = {}
  for i = 1, #text, 3 do
    local a, b, c = text:byte(i, i + 2)
    local n = a * 65536 + (b or 0) * 256 + (c or 0)
    for shift = 18, 0, -6 do
      local at = math.floor(n / 2 ^ shift) % 64 + 1
      out[#out + 1] = alphabet:sub(at, at)
    end
    if not b then out[#out], out[#out - 1] = '=', '=' elseif not c then out[#out] = '=' end
  end
  return table.concat(out)
end
local value = string.rep('v', 498)
local headers = { ['Content-Type'] = 'application/json'${headers} }
local n = 0
local function nextKey()
  n = (n * 7919 + 13) % ${KEYS}
  return 'live-' .. n
end`;
const V3 = {
  put: `
local encoded = base64('"' .. value .. '"')
request = function() return wrk.format('POST', '/v3/kv/put', headers, '{"key":"' .. base64(nextKey()) .. '","value":"' .. encoded .. '"}') end`,
  range: `
request = function() return wrk.format('POST', '/v3/kv/range', headers, '{"key":"' .. base64(nextKey()) .. '"}') end`,
};
const REST = {
  put: `
local body = '{"value":"' .. value .. '"}'
request = function() return wrk.format('PUT', '/v1/config/keys/' .. nextKey(), headers, body) end`,
  range: `
request = function() return wrk.format('GET', '/v1/config/keys/' .. nextKey(), headers) end`,
};

export const JSON_ITEMS = [
  { id: "json-put", title: "JSON /v3, 64 connections, put", face: V3, op: "put" },
  { id: "json-range", title: "JSON /v3, 64 connections, range of one key", face: V3, op: "range" },
  { id: "rest-put", title: "REST, 64 connections, put; etcd: JSON", face: REST, op: "put" },
  { id: "rest-get", title: "REST, 64 connections, get; etcd: JSON", face: REST, op: "range" },
].map((item) => ({ ...item, kind: "json", target: null }));

async function measure({ url, headers, script, groupId, seconds }) {
  await settle(groupId);
  const warmup = { url, script: prelude(headers) + script, seconds: 1 };
  await wrk(warmup);
  const beganMs = performance.now();
  const cpuMs = treeCpuMs(groupId);
  const result = await wrk({ ...warmup, seconds });
  const serverMs = treeCpuMs(groupId) - cpuMs;
  return {
    ...result,
    serverCpu: serverMs / (performance.now() - beganMs),
    microsecondsEach: (serverMs * 1000) / result.count,
  };
}

function print(note, name, { perSecond, p50Ms, serverCpu, microsecondsEach, errors }) {
  note(
    `${name} ${round(perSecond)}/s, p50 ${p50Ms.toFixed(2)} ms, server ${serverCpu.toFixed(2)} cores, ${microsecondsEach.toFixed(0)} µs of CPU each, ${errors} errors`,
  );
}

/** etcd's figures of one operation over its JSON gateway. */
export async function measureJsonPeer({ etcd, options, note }, { op }) {
  const url = `http://127.0.0.1:${etcd.port}`;
  const script = V3[op];
  const result = await measure({ url, headers: "", script, groupId: etcd.groupId, seconds: options.seconds / 2 });
  print(note, "  etcd", result);
  if (result.errors > 0) throw new Error(`etcd refused ${result.errors} requests`);
  return result;
}

export async function measureJson({ server, options, note, apiKey }, { id, face, op }) {
  const headers = `, ['Authorization'] = 'Bearer ${apiKey}'`;
  const { url, groupId } = server;
  const result = await measure({ url, headers, script: face[op], groupId, seconds: options.seconds });
  print(note, id, result);
  return result;
}
