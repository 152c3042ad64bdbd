// The process that runs embedding models: inference blocks its thread, so nothing else is on it. It has no object, no disk and no port.
// Guarantees: pure text from its inputs. Its socket lies in the directory that workerd is started in, which only our user enters.
import type { Settings } from "../cluster/settings.ts";
import {
  COMPATIBILITY_DATE,
  COMPATIBILITY_FLAGS,
  callSocket,
  embeds,
  list,
  textBinding,
  type WorkerModule,
} from "./capnp-parts.ts";
import { capnpText } from "./capnp-text.ts";

/** Where its modules lie beside the configuration. */
export const MODELS_DIR = "models";
export const MODELS_CONFIG = "models.capnp";
/** Relative: a unix socket's path is short, a data directory's may be long. */
export const MODELS_SOCKET = "models.sock";
/** The text of the file that `workerd serve` reads. */
export function modelsConfig(modules: readonly WorkerModule[], settings: Settings): string {
  const service = '(name = "models", entrypoint = "ModelRunner")';
  return `# Written by jade-db at each start: changes here are lost.
using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [(name = "models", worker = .models)],
  sockets = [${callSocket({ name: "models", socket: MODELS_SOCKET, service })}]
);

const models :Workerd.Worker = (
  modules = ${embeds(modules, `${MODELS_DIR}/`)},
  compatibilityDate = ${capnpText(COMPATIBILITY_DATE)},
  compatibilityFlags = ${list(COMPATIBILITY_FLAGS.map(capnpText))},
  bindings = ${list([textBinding("JADE_CONFIG", JSON.stringify(settings))])}
);
`;
}
