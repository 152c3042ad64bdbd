// Keeps the process that runs embedding models going, beside whatever else an instance runs.
import { rmSync } from "node:fs";
import { join } from "node:path";
import type { Settings } from "../cluster/settings.ts";
import type { WorkerModule } from "./capnp-parts.ts";
import { MODELS_CONFIG, MODELS_SOCKET, modelsConfig } from "./models-config.ts";
import { Supervisor, type SupervisorEvents } from "./supervisor.ts";
import { writeConfigFile } from "./worker-files.ts";
import { workerdBinary } from "./workerd-binary.ts";

export interface ModelsProcess {
  readonly runDir: string;
  readonly modules: readonly WorkerModule[];
  readonly settings: Settings;
  readonly events: SupervisorEvents;
}

export function modelsSupervisor({ runDir, modules, settings, events }: ModelsProcess): Supervisor {
  return new Supervisor({
    // It has no port: it is kept, never waited for.
    url: () => "",
    events,
    prepare: () => {
      // One that was killed leaves its socket's name behind.
      rmSync(join(runDir, MODELS_SOCKET), { force: true });
      writeConfigFile(join(runDir, MODELS_CONFIG), modelsConfig(modules, settings));
      return { binary: workerdBinary(), cwd: runDir, configFile: MODELS_CONFIG };
    },
  });
}
