// The tables of a configuration keyspace and of its followers, as numbered steps. Guarantee: append-only; a step once released never
// changes. Must not: hold logic. Applied by objects/migrate.ts when an object starts.

export const CONFIG_MIGRATIONS: readonly string[] = [
  [
    "CREATE TABLE config_facts (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
    // One row a change, in order; src/config/record.ts says what is in it.
    "CREATE TABLE config_log (seq INTEGER PRIMARY KEY, record BLOB NOT NULL)",
    // The living keys. `seq`: the log row with the value. `crc`: src/config/index-row.ts.
    `CREATE TABLE config_current (key BLOB PRIMARY KEY, seq INTEGER NOT NULL, mod INTEGER NOT NULL, created INTEGER NOT NULL,
        version INTEGER NOT NULL, lease TEXT NOT NULL, crc INTEGER NOT NULL) WITHOUT ROWID`,
    "CREATE INDEX config_leased ON config_current (lease) WHERE lease <> ''",
    // What was current from revision `mod` until before `ended`.
    `CREATE TABLE config_history (key BLOB NOT NULL, mod INTEGER NOT NULL, ended INTEGER NOT NULL, seq INTEGER NOT NULL,
        created INTEGER NOT NULL, version INTEGER NOT NULL, lease TEXT NOT NULL, crc INTEGER NOT NULL,
        PRIMARY KEY (key, mod)) WITHOUT ROWID`,
    `CREATE TABLE config_leases (lease TEXT PRIMARY KEY, granted_ttl INTEGER NOT NULL, deadline_ms INTEGER NOT NULL,
        crc INTEGER NOT NULL) WITHOUT ROWID`,
    // Which revision was the present one, and when; src/config/retention.ts.
    "CREATE TABLE config_times (at_ms INTEGER PRIMARY KEY, revision INTEGER NOT NULL, crc INTEGER NOT NULL)",
    // Answers of one turn's writes by write id; src/config/kept-answers.ts.
    "CREATE TABLE config_answers (id INTEGER PRIMARY KEY AUTOINCREMENT, at_ms INTEGER NOT NULL, answers BLOB NOT NULL)",
  ].join(";"),
  // The watches of connections that hibernate; src/config/watch-rows.ts. `socket`: objects/watch-desk.ts.
  `CREATE TABLE config_watches (socket INTEGER NOT NULL, watch INTEGER NOT NULL, state BLOB NOT NULL,
      PRIMARY KEY (socket, watch)) WITHOUT ROWID`,
  // What was current from revision `mod` until before `ended`, in runs: src/config/history.ts.
  [
    `CREATE TABLE config_ended (run INTEGER NOT NULL, key BLOB NOT NULL, mod INTEGER NOT NULL, ended INTEGER NOT NULL,
        seq INTEGER NOT NULL, created INTEGER NOT NULL, version INTEGER NOT NULL, lease TEXT NOT NULL, crc INTEGER NOT NULL,
        PRIMARY KEY (run, key, mod)) WITHOUT ROWID`,
    `INSERT INTO config_ended (run, key, mod, ended, seq, created, version, lease, crc)
        SELECT ended / 16384 * 16384, key, mod, ended, seq, created, version, lease, crc FROM config_history
        ORDER BY 1, key, mod`,
    "DROP TABLE config_history",
    // Keep-alives of a turn: src/config/lease-times.ts.
    "CREATE TABLE config_lease_times (id INTEGER PRIMARY KEY, times BLOB NOT NULL)",
  ].join(";"),
];
