// What the files in deploy/ start: each instance's flags, environment and configuration, as the server would be given them.
// Must not: judge them.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { load, loadAll, YAML11_SCHEMA } from "js-yaml";
import type { ConfigFlags } from "../../src/server/load-config.ts";
import { root } from "../lib/root.mjs";

export interface StartedInstance {
  readonly name: string;
  readonly flags: ConfigFlags;
  readonly env: Readonly<Record<string, string>>;
}

export interface KubernetesObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly [field: string]: unknown;
}

const deploy = (path: string): string => readFileSync(join(root, "deploy", path), "utf8");

/** Variables that the operator fills in. */
const FILLED = { JADE_ROOT_KEY: "r".repeat(32), JADE_CLUSTER_KEY: "k".repeat(32), BUCKET_SECRET: "s".repeat(32) };
const BUCKET = { AWS_ACCESS_KEY_ID: "jade", AWS_SECRET_ACCESS_KEY: FILLED.BUCKET_SECRET };

/** `--host=0.0.0.0 --peer=…` as the command line gives them to the server. */
export function flagsOf(args: readonly string[]): ConfigFlags {
  const flags: Record<string, unknown> = {};
  for (let at = 0; at < args.length; at++) {
    const [, dashed, joined] = /^--([a-z-]+)(?:=(.*))?$/s.exec(args[at]!) ?? [];
    if (dashed === undefined) throw new Error(`${args[at]} is no flag`);
    const name = dashed.replaceAll(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
    const follows = joined === undefined && args[at + 1]?.startsWith("--") === false;
    const value = joined ?? (follows ? args[++at] : true);
    flags[name] = name === "peer" ? [...((flags["peer"] as string[]) ?? []), value] : value;
  }
  return flags as ConfigFlags;
}

interface Compose {
  readonly services: Readonly<
    Record<string, { image: string; command?: string[]; environment?: Record<string, string> }>
  >;
}

export function composeFile(): Compose {
  const text = deploy("docker/compose.yaml").replaceAll(/\$\{(\w+):\?[^}]*\}/g, (_, name) => {
    if (!(name in FILLED)) throw new Error(`deploy/docker/env.example does not name ${name}`);
    return FILLED[name as keyof typeof FILLED];
  });
  return load(text, { schema: YAML11_SCHEMA }) as Compose;
}

export function kubernetesObjects(): readonly KubernetesObject[] {
  const names = readdirSync(join(root, "deploy/kubernetes")).filter((name) => name !== "kustomization.yaml");
  return names.flatMap((name) => loadAll(deploy(`kubernetes/${name}`)) as KubernetesObject[]);
}

/** With the certificate's paths replaced by ones of this machine. */
function configurationFile(text: string, { directory, name, cert }: Place): string {
  const path = join(directory, `${name}.yaml`);
  const replaced = text.replace(/(tlsCert: ).*/, `$1${cert.certFile}`).replace(/(tlsKey: ).*/, `$1${cert.keyFile}`);
  writeFileSync(path, replaced);
  return path;
}

interface Place {
  readonly directory: string;
  readonly name: string;
  readonly cert: { readonly certFile: string; readonly keyFile: string };
}

/** Three of each kind. `cert`: stands for the operator's. */
export function startedInstances(place: Omit<Place, "name">): readonly StartedInstance[] {
  const compose = Object.entries(composeFile().services)
    .filter(([, { image }]) => image === "jade-db")
    .map(([name, { command, environment }]) => {
      return { name: `compose ${name}`, flags: flagsOf(command!.slice(1)), env: environment! };
    });
  const objects = kubernetesObjects();
  const { data } = objects.find(({ kind }) => kind === "ConfigMap") as unknown as { data: Record<string, string> };
  const file = configurationFile(data["jade.yaml"]!, { ...place, name: "kubernetes" });
  const { JADE_ROOT_KEY, JADE_CLUSTER_KEY } = FILLED;
  const keys = { JADE_ROOT_KEY, JADE_CLUSTER_KEY, ...BUCKET };
  const pods = [0, 1, 2].map((ordinal) => {
    const args = ["--zone", `z${ordinal + 1}`, "--cluster-advertise", `jade-db-${ordinal}.jade-db-peers:8701`];
    const env = { ...keys, AWS_ENDPOINT_URL: data["AWS_ENDPOINT_URL"]! };
    return { name: `pod jade-db-${ordinal}`, flags: { ...flagsOf(args), config: file }, env };
  });
  const example = deploy("systemd/z1.yaml.example");
  const units = [1, 2, 3].map((number) => {
    const text = example
      .replace("zone: z1", `zone: z${number}`)
      .replace("address: 10.0.0.1", `address: 10.0.0.${number}`);
    const env = { ...keys, AWS_ENDPOINT_URL: "https://bucket.example" };
    return {
      name: `unit z${number}`,
      flags: { config: configurationFile(text, { ...place, name: `z${number}` }) },
      env,
    };
  });
  return [...compose, ...pods, ...units];
}
