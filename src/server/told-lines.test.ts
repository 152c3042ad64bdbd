import { expect, it } from "vitest";
import { ToldLines } from "./told-lines.ts";

const LEAKED =
  "workerd/server/server/entry.rs:265: error: the worker factory is still referenced after the server was dropped; a service leaked";

it("[CL-135] of what workerd writes exactly one line is not told, however it comes in pieces", () => {
  const text = `one\n${LEAKED}\n${LEAKED} elsewhere\n\ntwo`;
  for (let at = 0; at <= text.length; at++) {
    const lines = new ToldLines();
    const told = lines.push(text.slice(0, at)) + lines.push(text.slice(at)) + lines.end();
    expect(told).toBe(`one\n${LEAKED} elsewhere\n\ntwo`);
  }
  const last = new ToldLines();
  expect(last.push(LEAKED) + last.end()).toBe("");
});
