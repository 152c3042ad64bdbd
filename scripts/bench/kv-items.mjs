// What `npm run bench -- kv` measures, and the targets: ratios to `raw` in the same run.
// 500-byte values, one instance, replication factor 3 at quorum unless the item says otherwise.

export const VALUE_BYTES = 500;
export const BATCH_SIZE = 100;

/** What a phase against the database looks like. `tenant`: which of the two test tenants. */
const item = (id, title, target, phase) => ({ id, title, target, tenant: "rf3", ...phase });
const http = { transport: "http", connections: 64, inFlight: 1 };
const oneSession = { transport: "session", connections: 1, inFlight: 64 };
const manySessions = { transport: "session", connections: 64, inFlight: 1 };
const manyDeepSessions = { transport: "session", connections: 64, inFlight: 8 };

export const ITEMS = [
  item("http-put-rf1", "HTTP 64 connections, put, RF 1", 2.5, { ...http, op: "put", tenant: "rf1" }),
  item("http-put", "HTTP 64 connections, put", 1.5, { ...http, op: "put" }),
  item("http-get", "HTTP 64 connections, get", 2.5, { ...http, op: "get" }),
  item("session-64-put", "1 session, 64 in flight, put", 8, { ...oneSession, op: "put" }),
  item("session-64-get", "1 session, 64 in flight, get", 15, { ...oneSession, op: "get" }),
  item("sessions-1-put", "64 sessions, 1 in flight, put", 3.5, { ...manySessions, op: "put" }),
  item("sessions-1-get", "64 sessions, 1 in flight, get", 6, { ...manySessions, op: "get" }),
  item("sessions-8-put", "64 sessions, 8 in flight, put", 9, { ...manyDeepSessions, op: "put" }),
  item("sessions-8-get", "64 sessions, 8 in flight, get", 20, { ...manyDeepSessions, op: "get" }),
  item("http-batch", "HTTP 8 connections, batches of 100 puts, in keys", 20, {
    ...http,
    connections: 8,
    op: "batch",
    batchSize: BATCH_SIZE,
  }),
  item("sdk-64-put", "SDK, 1 session, 64 in flight, put", null, {
    transport: "sdk",
    connections: 1,
    inFlight: 64,
    op: "put",
  }),
  item("sdk-64-get", "SDK, 1 session, 64 in flight, get", null, {
    transport: "sdk",
    connections: 1,
    inFlight: 64,
    op: "get",
  }),
];

/** Redis shapes, and the item each is compared with: ratio = ours / Redis. */
export const REDIS_ITEMS = [
  {
    id: "redis-64-put",
    title: "Redis, 64 connections, set",
    versus: "sessions-1-put",
    connections: 64,
    inFlight: 1,
    op: "put",
  },
  {
    id: "redis-64-get",
    title: "Redis, 64 connections, get",
    versus: "sessions-1-get",
    connections: 64,
    inFlight: 1,
    op: "get",
  },
  {
    id: "redis-1x64-put",
    title: "Redis, 1 connection, 64 in flight, set",
    versus: "session-64-put",
    connections: 1,
    inFlight: 64,
    op: "put",
  },
  {
    id: "redis-1x64-get",
    title: "Redis, 1 connection, 64 in flight, get",
    versus: "session-64-get",
    connections: 1,
    inFlight: 64,
    op: "get",
  },
];

export const RAW_PHASE = { transport: "raw", op: "put", connections: 64, inFlight: 1 };

/** One HTTP request and one RPC to an object that does nothing: what no HTTP item can pass on this machine. */
export const HOP_PHASE = { transport: "hop", op: "get", connections: 64, inFlight: 1 };
