// Does one fault to the machines, and ends it.
import { setTimeout as sleep } from "node:timers/promises";
import type { Machines } from "./machines.ts";
import type { Fault } from "./plan.ts";

const ANY_PUT = "deployment";
const REFILL_MS = 200;

async function during<T>(forMs: number, begin: () => T, end: () => unknown): Promise<void> {
  await begin();
  try {
    await sleep(forMs);
  } finally {
    await end();
  }
}

export interface Done {
  /** Zones whose gateway may be away because of it. */
  readonly hurt: readonly string[];
  readonly about?: string | undefined;
}

/** `untilBack`: resolves when everything that was asked since then has been answered. */
export async function perform(
  machines: Machines,
  fault: Fault,
  untilBack: (sinceMs: number) => Promise<unknown>,
): Promise<Done> {
  const { way } = machines;
  const indexOf = (zone: string): number => machines.zones.indexOf(zone);
  switch (fault.kind) {
    case "kill":
      for (const [index, zone] of fault.zones.entries()) {
        if (index > 0 && fault.apartMs) await sleep(fault.apartMs);
        machines.signal(fault.part, zone, "SIGKILL");
      }
      return { hurt: fault.part === "bucket" ? [] : fault.zones };
    case "term":
      for (const zone of fault.zones) {
        const beganMs = performance.now();
        machines.signal("instance", zone, "SIGTERM");
        await sleep(500);
        await machines.untilReady(zone);
        await untilBack(beganMs + 500);
      }
      return { hurt: fault.zones };
    case "pause": {
      const signal = (name: NodeJS.Signals) => (): void => {
        for (const zone of fault.zones) machines.signal(fault.part, zone, name);
      };
      await during(fault.forMs, signal("SIGSTOP"), signal("SIGCONT"));
      return { hurt: fault.part === "bucket" ? [] : fault.zones };
    }
    case "cut": {
      const [index, network] = [indexOf(fault.zones[0]!), machines.network!];
      await during(
        fault.forMs,
        () => network.cut(index, fault.from),
        () => network.heal(index, fault.from),
      );
      return { hurt: fault.zones };
    }
    case "slow bucket":
      await during(
        fault.forMs,
        () => way.delay(fault.ms),
        () => way.delay(0),
      );
      return { hurt: [] };
    case "bad PUT":
      return { hurt: [], about: (await way.play({ kind: fault.how, path: ANY_PUT })).path };
    case "late PUT": {
      const { zone, path } = await way.play({ kind: "hold", path: ANY_PUT, forMs: fault.forMs });
      machines.signal("leaders", zone, "SIGKILL");
      await sleep(fault.forMs + 1000);
      return { hurt: [zone], about: `${zone} ${path}` };
    }
    case "full disk": {
      const disk = machines.disks.get(fault.zones[0]!)!;
      await disk.fill();
      const end = performance.now() + fault.forMs;
      let refills = 0;
      // What is given back meanwhile, by a log that is cut off, is taken, too.
      for (; performance.now() < end; await sleep(REFILL_MS)) if (await disk.fill()) refills++;
      disk.empty();
      return { hurt: fault.zones, about: `filled again ${refills} times` };
    }
    case "clock": {
      const [zone] = fault.zones;
      await during(
        fault.forMs,
        () => machines.clocks!.step(zone!, fault.ms),
        () => machines.clocks!.step(zone!, 0),
      );
      return { hurt: fault.zones };
    }
    default:
      return fault satisfies never;
  }
}
