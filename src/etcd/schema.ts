// Message types of etcd's API as tables: field numbers and names, from which JSON (json.ts) and protobuf (protobuf.ts) are read and
// written. One table serves both faces. Guarantees: a message holds only fields that were given; zero and absent are the same but for a
// oneof's members. Must not: know what a message means.
import type { BinaryKey } from "../wire/config.ts";

/**
 * `key`: bytes as a binary string. `bytes`: bytes. `int64`: a number, cut to the safe integers. `id`: an int64 as decimal text,
 * "" = 0. `uid`: the same of a uint64.
 */
export type FieldKind = "bool" | "string" | "key" | "bytes" | "int64" | "id" | "uid" | "uint32" | "enum" | "message";

export interface Field<T> {
  readonly number: number;
  readonly kind: FieldKind;
  /** As in the .proto; undefined = the property's name in snake_case. */
  readonly name?: string;
  readonly isRepeated?: boolean;
  /** A member of a oneof is told even when it is zero. */
  readonly isOneof?: boolean;
  /** Of `enum`: its name in error texts, and its values by number. */
  readonly enumName?: string;
  readonly values?: readonly string[];
  /** Of `message`. */
  readonly type?: () => MessageType<unknown>;
  /** Only the compiler knows it. */
  readonly sample?: T;
}

export interface ResolvedField extends Field<unknown> {
  readonly property: string;
  readonly name: string;
}

/** A message as an object: property → value. */
export type Fields = Record<string, unknown>;

export interface MessageType<T> {
  readonly name: string;
  /** In the order of the .proto, which is the order they are written in. */
  readonly fields: readonly ResolvedField[];
  /** By both names that JSON may use. */
  readonly byName: ReadonlyMap<string, ResolvedField>;
  readonly byNumber: ReadonlyMap<number, ResolvedField>;
  readonly sample?: T;
}

type Shape = Readonly<Record<string, Field<unknown>>>;
type Of<S extends Shape> = { readonly [K in keyof S]?: S[K] extends Field<infer T> ? T | undefined : never };
/** The object that a message type describes. */
export type Message<M> = M extends MessageType<infer T> ? T : never;

function snake(property: string): string {
  return property.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

export function message<S extends Shape>(name: string, shape: S): MessageType<Of<S>> {
  const fields = Object.entries(shape).map(([property, field]): ResolvedField => {
    return { ...field, property, name: field.name ?? snake(property) };
  });
  const byName = new Map<string, ResolvedField>();
  for (const field of fields) {
    byName.set(field.property, field);
    byName.set(field.name, field);
  }
  return { name, fields, byName, byNumber: new Map(fields.map((field) => [field.number, field])) };
}

type Options = Pick<Field<unknown>, "name" | "isOneof">;

function scalar<T>(kind: FieldKind) {
  return (number: number, options: Options = {}): Field<T> => ({ number, kind, ...options });
}

export const bool = scalar<boolean>("bool");
export const text = scalar<string>("string");
export const key = scalar<BinaryKey>("key");
export const bytes = scalar<Uint8Array>("bytes");
export const int64 = scalar<number>("int64");
export const id = scalar<string>("id");
export const uid = scalar<string>("uid");
export const uint32 = scalar<number>("uint32");

export function choice(
  number: number,
  { name, values, ...options }: Options & { readonly name: string; readonly values: readonly string[] },
): Field<number> {
  return { number, kind: "enum", enumName: name, values, ...(options.isOneof ? { isOneof: true } : {}) };
}

export function nested<T>(number: number, type: () => MessageType<T>, options: Options = {}): Field<T> {
  return { number, kind: "message", type, ...options };
}

export function list<T>(field: Field<T>): Field<readonly T[]> {
  return { ...(field as Field<unknown>), isRepeated: true } as Field<readonly T[]>;
}

/** Messages in messages: deeper ones are refused before they can exhaust the stack. Transactions nest three levels each. */
export const MAX_MESSAGE_DEPTH = 40;

/** True for what is not written. */
export function isZero(value: unknown): boolean {
  return value === undefined || value === false || value === 0 || value === "" || (value as Uint8Array).length === 0;
}
