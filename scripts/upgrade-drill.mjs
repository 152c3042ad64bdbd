// `npm run upgrade-drill`: three instances of an earlier commit's build are brought to this one, one after the other, under load.
//   npm run upgrade-drill [-- --from HEAD~1] [--build <a built checkout>]
// Exit: 0 = no request failed and nothing was lost; 1 = a problem; 2 = cannot start.
import { parseArgs } from "node:util";
import { buildAll } from "./build.mjs";
import { buildOf } from "./upgrade/builds.mjs";

if (!process.features.typescript) {
  console.error(`this needs Node 24 (here: ${process.version}); run it as: npm run upgrade-drill`);
  process.exit(2);
}
const { UpgradeDrill } = await import("./upgrade/run.ts");
const { values } = parseArgs({
  options: { from: { type: "string", default: "HEAD~1" }, build: { type: "string" } },
});
await buildAll({ quiet: true });
const given = values.build;
const oldBuild = given
  ? { directory: given, commit: given, dispose: async () => undefined }
  : await buildOf(values.from);
console.log(`upgrade drill: from ${oldBuild.commit}`);
const drill = new UpgradeDrill({ oldBuild, instances: 3, report: (line) => console.log(line) });
try {
  await drill.run();
} finally {
  await oldBuild.dispose();
}
for (const problem of drill.problems) console.error(`FAILED  ${problem}`);
console.log(
  drill.problems.length === 0 ? "ok: no request failed, nothing was lost" : `${drill.problems.length} problems`,
);
process.exit(drill.problems.length === 0 ? 0 : 1);
