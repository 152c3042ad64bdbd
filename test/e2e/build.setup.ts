// Before the end-to-end tests: dist/ must hold what the sources say.

import { buildAll } from "../../scripts/build.mjs";

export default async function setup(): Promise<void> {
  await buildAll({ quiet: true });
}
