// A filter as a tree, after it was judged. What it means is defined by match.ts; indexes answer the same by rows.
import type { Point, Scalar } from "../metadata/values.ts";

/** Bounds of one type: numbers compare with numbers, text with text (by UTF-8 bytes). */
export interface Bounds<T extends number | string = number | string> {
  readonly gt?: T;
  readonly gte?: T;
  readonly lt?: T;
  readonly lte?: T;
}

export type Condition =
  /** Some scalar at the path is one of these. */
  | { readonly kind: "oneOf"; readonly path: string; readonly values: readonly Scalar[] }
  /** Each of these is at the path. */
  | { readonly kind: "allOf"; readonly path: string; readonly values: readonly Scalar[] }
  | { readonly kind: "between"; readonly path: string; readonly bounds: Bounds }
  | { readonly kind: "exists"; readonly path: string }
  | { readonly kind: "prefix"; readonly path: string; readonly prefix: string }
  /** Every word is in one of the texts at the path; not necessarily the same one. */
  | { readonly kind: "words"; readonly path: string; readonly words: readonly string[] }
  | { readonly kind: "near"; readonly path: string; readonly center: Point; readonly radiusMeters: number };

export type Filter =
  | Condition
  | { readonly kind: "and" | "or"; readonly of: readonly Filter[] }
  | { readonly kind: "not"; readonly of: Filter };

export function isWithin(value: number | string, bounds: Bounds, compare: (a: never, b: never) => number): boolean {
  const to = (bound: number | string): number => compare(value as never, bound as never);
  const { gt, gte, lt, lte } = bounds;
  if (gt !== undefined && to(gt) <= 0) return false;
  if (gte !== undefined && to(gte) < 0) return false;
  if (lt !== undefined && to(lt) >= 0) return false;
  return lte === undefined || to(lte) <= 0;
}

/** The type that the bounds compare; they are of one type. */
export function typeOfBounds({ gt, gte, lt, lte }: Bounds): "number" | "string" {
  return typeof (gt ?? gte ?? lt ?? lte) === "string" ? "string" : "number";
}
