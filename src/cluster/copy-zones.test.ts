import { expect, it } from "vitest";
import { firstNodes } from "../access/ring-start.ts";
import type { NodeState } from "../access/types.ts";
import { copyZonesOf } from "./copy-zones.ts";

it("[VE-315] copies of vectors may stand in zones with storage nodes that stay, and whose instance is not gone by the policy; new ones only where it is there", () => {
  const states: readonly NodeState[] = ["active", "draining", "removed", "bootstrapping"];
  const nodes = firstNodes(4, 4).map((node, at) => ({ ...node, state: states[at]! }));
  const told = (absences: readonly { zone: string; isActedOn: boolean }[], policy: "observe" | "dry-run" | "act") =>
    copyZonesOf({ nodes, absences, policy });
  expect(told([], "act")).toEqual({ zones: ["z1", "z4"], fresh: ["z1", "z4"] });
  const failed = { zone: "z4", isActedOn: false };
  expect(told([failed], "act")).toEqual({ zones: ["z1", "z4"], fresh: ["z1"] });
  const due = { zone: "z4", isActedOn: true };
  expect(told([due], "act")).toEqual({ zones: ["z1"], fresh: ["z1"] });
  for (const policy of ["observe", "dry-run"] as const)
    expect(told([due], policy)).toEqual({ zones: ["z1", "z4"], fresh: ["z1"] });
});
