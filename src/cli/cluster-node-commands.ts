// `jade-db cluster node …`: adds, removes, replaces and re-weighs storage nodes, and tells how far that is.
import { type Command, InvalidArgumentError } from "commander";
import type { JadeClient, NodeChangeBounds, NodeOperation } from "../client/index.ts";
import { withContext } from "./context.ts";
import { wholeNumber } from "./tenant-commands.ts";

const POLL_MS = 500;
const ENDED: ReadonlySet<NodeOperation["state"]> = new Set(["finished", "cancelled", "rolledBack", "failed"]);

interface Flags extends NodeChangeBounds {
  readonly wait?: boolean;
  readonly zone?: string;
  readonly weight?: number;
}

function positive(text: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new InvalidArgumentError("expected a number above 0.");
  return value;
}

function seconds(text: string): number {
  return text === "0" ? 0 : wholeNumber(text);
}

function addBounds(command: Command): Command {
  return command
    .option("--grace-seconds <n>", "how long former replicas keep their copies", seconds)
    .option("--keys-per-second <n>", "keys that each node compares in a second, most", wholeNumber)
    .option("--wait", "until it is over");
}

function shown({ progress, uncleaned, otherIds, ...operation }: NodeOperation): object {
  return { ...operation, ...progress, otherIds: otherIds.join(", "), uncleaned: uncleaned.join(", ") };
}

/** What fits beside each other in a table; JSON and one operation are shown whole. */
function listed({
  operationId,
  kind,
  nodeId,
  state,
  waitingFor,
  reason,
  progress,
  createdAt,
  finishedAt,
}: NodeOperation) {
  const { rangesDone, rangeCount, keysMoved } = progress;
  const why = reason || waitingFor;
  return {
    operationId,
    kind,
    nodeId,
    state,
    why,
    ranges: `${rangesDone}/${rangeCount}`,
    keysMoved,
    createdAt,
    finishedAt,
  };
}

async function followed(client: JadeClient, operation: NodeOperation, wait: boolean | undefined): Promise<object> {
  let held = operation;
  while (wait && !ENDED.has(held.state)) {
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    held = await client.clusterNodes.operation(held.operationId);
  }
  return shown(held);
}

type Change = (client: JadeClient, name: string, flags: Flags) => Promise<NodeOperation>;

function addChange(command: Command, change: Change): void {
  addBounds(command).action((...given: unknown[]) => {
    const self = given.at(-1) as Command;
    const flags = given.at(-2) as Flags;
    const name = typeof given[0] === "string" ? given[0] : "";
    return withContext(self, { key: "root" }, async ({ client, print }) => {
      print(await followed(client, await change(client, name, flags), flags.wait));
    });
  });
}

const boundsOf = ({ graceSeconds, keysPerSecond }: Flags): NodeChangeBounds => ({ graceSeconds, keysPerSecond });

export function addClusterNodeCommands(cluster: Command): void {
  const node = cluster.command("node").description("add, remove, replace and re-weigh storage nodes");
  addChange(
    node
      .command("add")
      .description("a new storage node, which takes its share of the data")
      .option("--zone <zone>", "where it is at home (default: the zone with the least weight)")
      .option("--weight <n>", "its share, beside other nodes' weights (default: 1)", positive),
    (client, _name, flags) => client.clusterNodes.add({ zone: flags.zone, weight: flags.weight, ...boundsOf(flags) }),
  );
  addChange(
    node.command("remove <node>").description("its data moves to others, then it goes"),
    (client, name, flags) => client.clusterNodes.remove(name, boundsOf(flags)),
  );
  addChange(node.command("replace <node>").description("a new storage node takes its place"), (client, name, flags) =>
    client.clusterNodes.replace(name, boundsOf(flags)),
  );
  addChange(
    node
      .command("weigh <node>")
      .description("give it another weight")
      .requiredOption("--weight <n>", "its share, beside other nodes' weights", positive),
    (client, name, flags) => client.clusterNodes.weigh(name, flags.weight!, boundsOf(flags)),
  );
  node
    .command("operations")
    .description("the last hundred changes, newest first")
    .action((_flags: object, command: Command) =>
      withContext(command, { key: "root" }, async ({ client, flags, print }) =>
        print((await client.clusterNodes.operations()).map(flags.output === "table" ? listed : shown)),
      ),
    );
  node
    .command("cancel <operation>")
    .description("call a change off; it is rolled back")
    .action((id: string, _flags: object, command: Command) =>
      withContext(command, { key: "root" }, async ({ client, print }) =>
        print(shown(await client.clusterNodes.cancel(wholeNumber(id)))),
      ),
    );
}
