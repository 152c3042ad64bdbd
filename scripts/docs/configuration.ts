// Writes docs/configuration.md from the configuration's schema.

import { z } from "zod";
import { configSchema } from "../../src/server/config-schema.ts";

export const CONFIGURATION_PAGE = "docs/configuration.md";

interface FieldSchema {
  readonly type?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly enum?: readonly unknown[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly format?: string;
  readonly properties?: Readonly<Record<string, FieldSchema>>;
  readonly required?: readonly string[];
  readonly items?: FieldSchema;
}

const INTRO = `# Configuration

<!-- Made from src/server/config-schema.ts by \`npm run docs\`. Changes here are lost. -->

\`npm start\` (= \`jade-db serve\`) needs no configuration. What is set is taken in this order, first wins:

1. flags: \`--port\`, \`--host\`, \`--data-dir\`, \`--log-level\`, \`--config <file>\`, \`--insecure-public-http\`,
   \`--tls-cert\`, \`--tls-key\`, \`--watch-port\`, \`--watch-fronts\`,
   \`--grpc-port\`, \`--grpc-cert\`, \`--grpc-key\`, \`--grpc-client-ca\`;
   of an instance of a cluster \`--cluster\`, \`--zone\`, \`--peer\`, \`--cluster-address\`, \`--cluster-advertise\`, \`--private-network\`, \`--shared-port\`, \`--instances\`;
2. environment: \`JADE_PORT\`, \`JADE_DATA_DIR\`, \`JADE_LOG_LEVEL\`, \`JADE_CONFIG_FILE\`, \`JADE_ROOT_KEY\`;
   of an instance of a cluster also \`JADE_CLUSTER_KEY\` and the bucket's \`AWS_…\`;
3. the file: \`--config\`, else \`JADE_CONFIG_FILE\`, else \`jade.yaml\` in the directory the server is started in, when there is one;
4. the defaults below.

\`jade-db serve --check\` reads all of it, starts nothing, and exits with 0 when it is good or with 2 after listing every wrong
field, its value and its limit. Unknown fields are errors. Start from one of \`templates/development.yaml\`,
\`templates/staging.yaml\`, \`templates/production.yaml\`.

**The root key** is never part of the file. It is taken from \`JADE_ROOT_KEY\`, or made at the first start and printed once; the data
directory holds only its SHA-256 (\`root-key.sha256\`). A lost key: stop the server, delete that file, start again for a new one.
\`JADE_ROOT_KEY\` wins over the stored one for as long as it is set, and is not stored.

**An instance of a cluster** makes no root key: \`JADE_ROOT_KEY\`, or its SHA-256 as \`JADE_ROOT_KEY_HASH\`, and \`JADE_CLUSTER_KEY\` (32 or more random characters, as of
\`openssl rand -hex 32\`) must be the same for all. The bucket is reached by \`AWS_ENDPOINT_URL\`, \`AWS_REGION\`, and \`AWS_ACCESS_KEY_ID\` with \`AWS_SECRET_ACCESS_KEY\` (and \`AWS_SESSION_TOKEN\`),
or a file of those three that is read again when it changes, \`AWS_CREDENTIALS_FILE\`. \`--check\` names what is missing, and shows no value.

**Metrics** are open to whoever reaches \`/metrics\`. With \`JADE_METRICS_ACCESS=root\` in the environment they ask for the root key.

**On Cloudflare** and under \`npm run dev\` the same settings, without \`server\` and \`storage.dataDir\`, are the JSON text of the
variable \`JADE_CONFIG\`; the root key's SHA-256 is the secret \`JADE_ROOT_KEY_HASH\`. There \`storage.blobStore\` may be \`r2\`.

**Memory** of one instance is roughly \`nodes × (3 × memtableMiB + rowCacheMiB + blockCacheMiB)\` plus 150 MiB.
`;

function bounds(field: FieldSchema): string {
  if (field.enum !== undefined) return field.enum.map((value) => `\`${String(value)}\``).join(", ");
  if (field.type === "array") {
    return field.items?.enum ? `list of ${bounds(field.items)}` : field.items?.properties ? "list, see below" : "list";
  }
  if (field.type === "object") return "object";
  if (field.type === "boolean") return "`true`, `false`";
  if (field.minimum !== undefined && field.maximum !== undefined) {
    return `${field.minimum.toLocaleString("en-US")} – ${field.maximum.toLocaleString("en-US")}`;
  }
  if (field.format === "uri") return "an http or https URL";
  return field.maxLength === undefined ? "text" : `text, at most ${field.maxLength} characters`;
}

function row(section: string, name: string, field: FieldSchema): string {
  const shown = Array.isArray(field.default)
    ? field.default.join(", ") || "[]"
    : field.type === "object"
      ? JSON.stringify(field.default)
      : String(field.default);
  const value = field.default === undefined ? "none" : `\`${shown}\``;
  return `| \`${section}.${name}\` | ${value} | ${bounds(field)} | ${field.description ?? ""} |`;
}

function table(section: string, properties: Readonly<Record<string, FieldSchema>>): string {
  const rows = Object.entries(properties).map(([name, field]) => row(section, name, field));
  return `| field | default | values | meaning |\n|---|---|---|---|\n${rows.join("\n")}\n`;
}

export function configurationPage(): string {
  const schema = z.toJSONSchema(configSchema, { io: "input" }) as FieldSchema;
  const parts = [INTRO];
  for (const [section, { properties = {}, description = "" }] of Object.entries(schema.properties ?? {})) {
    parts.push(`## ${section}\n\n${description}\n\n${table(section, properties)}`);
    for (const [name, { items }] of Object.entries(properties)) {
      if (!items?.properties) continue;
      const entry = `${section}.${name}[]`;
      parts.push(`### ${entry}\n\nEach entry of the list.\n\n${table(entry, items.properties)}`);
    }
  }
  return parts.join("\n");
}
