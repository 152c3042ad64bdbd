// The load scenarios by name. Each gets a fresh server and gives checks; a check without a limit is only printed.

import { largeValues } from "./large-values.mjs";
import { manySessions } from "./many-sessions.mjs";
import { hotKey, siblingStorm } from "./one-key.mjs";
import { saturation } from "./saturation.mjs";
import { slowClients } from "./slow-clients.mjs";

export const SCENARIOS = {
  saturation,
  "slow-clients": slowClients,
  sessions: manySessions,
  "large-values": largeValues,
  "hot-key": hotKey,
  siblings: siblingStorm,
};
