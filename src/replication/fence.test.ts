import { expect, it } from "vitest";
import { fenceOf, newerOf, revisionsOf } from "./fence.ts";

it("[RP-117] ring and route travel as one number; either being older is older", () => {
  expect(fenceOf({ ring: 0, route: 7 })).toBe(7);
  expect(revisionsOf(fenceOf({ ring: 1000, route: 2 ** 31 }))).toEqual({ ring: 1000, route: 2 ** 31 });
  const sent = fenceOf({ ring: 3, route: 5 });
  expect(newerOf(sent, { ring: 3, route: 5 })).toBeUndefined();
  expect(newerOf(sent, { ring: 2, route: 4 })).toBeUndefined();
  expect(newerOf(sent, { ring: 4, route: 0 })).toBe(fenceOf({ ring: 4, route: 0 }));
  expect(newerOf(sent, { ring: 0, route: 6 })).toBe(fenceOf({ ring: 0, route: 6 }));
});
