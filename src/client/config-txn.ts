// Transactions of `client.config`: what to compare, and what to do if all of it holds or not.
// Guarantees: what is sent is built once, at commit; each operation of the branch taken has its result, in order.
import {
  checkedKey,
  type Encoding,
  encodingOf,
  entryOf,
  keyOf,
  keyText,
  metaOf,
  rangeKeys,
  rangeText,
  valueBase64,
} from "./config-codec.ts";
import type {
  ConfigEntry,
  ConfigKey,
  ConfigMeta,
  ConfigRange,
  ConfigRangeFields,
  ConfigWriteOptions,
  PutFields,
} from "./config-types.ts";

export type CompareField = "version" | "createRevision" | "modRevision" | "value" | "leaseId";
export type CompareSign = "=" | "!=" | ">" | "<";

const RESULTS: Readonly<Record<CompareSign, string>> = { "=": "equal", "!=": "notEqual", ">": "greater", "<": "less" };

/** True when it holds for every key of a range. An absent key has version and revisions 0. */
export interface ConfigCompare {
  readonly at: ConfigKey | ConfigRange;
  readonly field: CompareField;
  readonly sign: CompareSign;
  readonly operand: unknown;
}

export type ConfigOperation =
  | { readonly op: "put"; readonly key: ConfigKey; readonly value: unknown; readonly fields: PutFields }
  | {
      readonly op: "get";
      readonly key: ConfigKey;
      readonly fields: { readonly revision?: number; readonly keysOnly?: boolean };
    }
  | { readonly op: "range"; readonly fields: ConfigRangeFields }
  | { readonly op: "delete"; readonly at: ConfigKey | ConfigRange; readonly fields: { readonly prevKv?: boolean } }
  | { readonly op: "txn"; readonly txn: TxnParts };

export interface TxnParts {
  readonly compare: readonly ConfigCompare[];
  readonly success: readonly ConfigOperation[];
  readonly failure: readonly ConfigOperation[];
}

/** The operations of a transaction. */
export const configOp = {
  put: (key: ConfigKey, value: unknown, fields: PutFields = {}): ConfigOperation => ({
    op: "put",
    key: checkedKey(key),
    value,
    fields,
  }),
  get: (key: ConfigKey, fields: { readonly revision?: number; readonly keysOnly?: boolean } = {}): ConfigOperation => ({
    op: "get",
    key: checkedKey(key),
    fields,
  }),
  range: (fields: ConfigRangeFields): ConfigOperation => ({ op: "range", fields }),
  delete: (at: ConfigKey | ConfigRange, fields: { readonly prevKv?: boolean } = {}): ConfigOperation => ({
    op: "delete",
    at,
    fields,
  }),
  txn: (txn: TxnParts): ConfigOperation => ({ op: "txn", txn }),
};

export type ConfigOperationResult =
  | ({ readonly op: "put"; readonly prevKv?: ConfigEntry | undefined } & ConfigMeta)
  | ({ readonly op: "get"; readonly found: true } & ConfigEntry)
  | { readonly op: "get"; readonly found: false; readonly key: ConfigKey }
  | {
      readonly op: "range";
      readonly items: readonly ConfigEntry[];
      readonly more: boolean;
      readonly count?: number | undefined;
    }
  | { readonly op: "delete"; readonly deleted: number; readonly prevKvs?: readonly ConfigEntry[] | undefined }
  | { readonly op: "txn"; readonly succeeded: boolean; readonly responses: readonly ConfigOperationResult[] };

export interface ConfigTxnResult {
  /** All compares held: `responses` are those of `success`. */
  readonly succeeded: boolean;
  readonly revision: number;
  readonly responses: readonly ConfigOperationResult[];
}

/**
 * @example
 * const { succeeded } = await client.config.txn()
 *   .if("stock/42", "modRevision", "=", 7)
 *   .onSuccess(configOp.put("stock/42", 9))
 *   .onFailure(configOp.get("stock/42"))
 *   .commit();
 */
export class ConfigTxn implements TxnParts {
  readonly compare: ConfigCompare[] = [];
  readonly success: ConfigOperation[] = [];
  readonly failure: ConfigOperation[] = [];
  readonly #send: (parts: TxnParts, options: ConfigWriteOptions) => Promise<ConfigTxnResult>;

  constructor(send: (parts: TxnParts, options: ConfigWriteOptions) => Promise<ConfigTxnResult>) {
    this.#send = send;
  }

  if(at: ConfigKey | ConfigRange, field: CompareField, sign: CompareSign, operand: unknown): this {
    if (!Object.hasOwn(RESULTS, sign))
      throw new TypeError(`a comparison is one of = != > <, got ${JSON.stringify(sign)}`);
    this.compare.push({ at, field, sign, operand });
    return this;
  }

  onSuccess(...operations: readonly ConfigOperation[]): this {
    this.success.push(...operations);
    return this;
  }

  onFailure(...operations: readonly ConfigOperation[]): this {
    this.failure.push(...operations);
    return this;
  }

  commit(options: ConfigWriteOptions = {}): Promise<ConfigTxnResult> {
    return this.#send(this, options);
  }
}

type Place = ConfigKey | ConfigRange;
const isKey = (at: Place): at is ConfigKey => typeof at === "string" || at instanceof Uint8Array;

function keysOf(parts: TxnParts): (ConfigKey | undefined)[] {
  const keys: (ConfigKey | undefined)[] = [];
  const place = (at: Place): void => void keys.push(...(isKey(at) ? [at] : rangeKeys(at)));
  for (const { at } of parts.compare) place(at);
  for (const operation of [...parts.success, ...parts.failure]) {
    if (operation.op === "txn") keys.push(...keysOf(operation.txn));
    else if (operation.op === "range") keys.push(...rangeKeys(operation.fields), operation.fields.delimiter);
    else place(operation.op === "delete" ? operation.at : operation.key);
  }
  return keys;
}

function hasBytes({ compare, success, failure }: TxnParts): boolean {
  if (compare.some(({ operand }) => operand instanceof Uint8Array)) return true;
  return [...success, ...failure].some((operation) => {
    if (operation.op === "txn") return hasBytes(operation.txn);
    return operation.op === "put" && operation.value instanceof Uint8Array;
  });
}

export interface TxnEncoding {
  readonly keyEncoding: Encoding;
  readonly valueEncoding: "json" | "base64";
}

export function txnEncoding(parts: TxnParts): TxnEncoding {
  return { keyEncoding: encodingOf(keysOf(parts)), valueEncoding: hasBytes(parts) ? "base64" : "json" };
}

export function txnBody({ compare, success, failure }: TxnParts, encoding: TxnEncoding): object {
  const { keyEncoding, valueEncoding } = encoding;
  const value = (given: unknown): unknown => (valueEncoding === "base64" ? valueBase64(given) : given);
  const place = (at: Place) => (isKey(at) ? { key: keyText(at, keyEncoding) } : rangeText(at, keyEncoding));
  const operation = (one: ConfigOperation): object => {
    switch (one.op) {
      case "put":
        return { ...one.fields, op: "put", key: keyText(one.key, keyEncoding), value: value(one.value) };
      case "get":
        return { ...one.fields, op: "get", key: keyText(one.key, keyEncoding) };
      case "range": {
        const { delimiter } = one.fields;
        const level = delimiter === undefined ? {} : { delimiter: keyText(delimiter, keyEncoding) };
        return { ...one.fields, ...rangeText(one.fields, keyEncoding), ...level, op: "range" };
      }
      case "delete":
        return { ...one.fields, ...place(one.at), op: "delete" };
      case "txn":
        return { ...txnBody(one.txn, encoding), op: "txn" };
      default:
        return one satisfies never;
    }
  };
  return {
    compare: compare.map(({ at, field, sign, operand }) => ({
      ...place(at),
      target: field,
      result: RESULTS[sign],
      value: field === "value" ? value(operand) : operand,
    })),
    success: success.map(operation),
    failure: failure.map(operation),
  };
}

interface RawResponse {
  readonly op: "put" | "get" | "range" | "delete" | "txn";
  readonly key: string;
  readonly keyEncoding?: string;
  readonly found?: boolean;
  readonly prevKv?: unknown;
  readonly prevKvs?: readonly unknown[];
  readonly items?: readonly unknown[];
  readonly more?: boolean;
  readonly count?: number;
  readonly deleted?: number;
  readonly succeeded?: boolean;
  readonly responses?: readonly RawResponse[];
}

export function txnResponses(responses: readonly unknown[]): readonly ConfigOperationResult[] {
  return (responses as readonly RawResponse[]).map((raw): ConfigOperationResult => {
    const { op, found, prevKv, prevKvs, items = [], more = false, count, deleted = 0, succeeded = false } = raw;
    switch (op) {
      case "put":
        return { op, ...metaOf(raw), ...(prevKv ? { prevKv: entryOf(prevKv, "json") } : {}) };
      case "get":
        return found ? { op, found, ...entryOf(raw, "json") } : { op, found: false, key: keyOf(raw) };
      case "range":
        return {
          op,
          items: items.map((item) => entryOf(item, "json")),
          more,
          ...(count === undefined ? {} : { count }),
        };
      case "delete":
        return { op, deleted, ...(prevKvs ? { prevKvs: prevKvs.map((item) => entryOf(item, "json")) } : {}) };
      case "txn":
        return { op, succeeded, responses: txnResponses(raw.responses ?? []) };
      default:
        return op satisfies never;
    }
  });
}
