// The repository's root directory, as an absolute path without a trailing slash.

import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("../..", import.meta.url)).replace(/\/$/, "");
