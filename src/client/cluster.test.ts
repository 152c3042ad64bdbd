// The SDK's types of a cluster against what the server measures and answers: the same shapes, written down twice, for the SDK imports no zod. `npm run check` judges them.
import { expect, expectTypeOf, it } from "vitest";
import type { z } from "zod";
import type { InstanceFigures, ProcessFigures, ToldMember } from "../cluster/told.ts";
import { type eventShape, gossipShape, type useShape } from "../gateway/cluster-shown.ts";
import type { ClusterEvent, GossipState, InstanceUse, ProcessUse } from "./cluster.ts";

/** Without `readonly`, all the way down: JSON knows none. */
type Plain<T> = T extends readonly (infer Item)[]
  ? Plain<Item>[]
  : T extends object
    ? { -readonly [Key in keyof T]: Plain<T[Key]> }
    : T;

it("what instances use, how they see each other and what happened to them has one shape at both ends", () => {
  expectTypeOf<Plain<ProcessUse>>().toEqualTypeOf<Plain<ProcessFigures>>();
  expectTypeOf<Plain<Omit<InstanceUse, "ownerCount">>>().toEqualTypeOf<Plain<InstanceFigures>>();
  expectTypeOf<Plain<InstanceUse>>().toEqualTypeOf<Plain<z.output<typeof useShape>>>();
  expectTypeOf<GossipState["state"]>().toEqualTypeOf<ToldMember["state"]>();
  expectTypeOf<Plain<GossipState>>().toEqualTypeOf<Plain<z.output<typeof gossipShape>>>();
  expectTypeOf<Plain<ClusterEvent>>().toEqualTypeOf<Plain<z.output<typeof eventShape>>>();
  // At run time too: a field that the SDK lists is one that the server gives.
  const fields = { state: "alive", since: "", incarnation: 1, trusted: true } satisfies GossipState;
  expect(Object.keys(gossipShape.shape).sort()).toEqual(Object.keys(fields).sort());
});
