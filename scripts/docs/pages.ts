// The pages of docs/ that are made from code. Add one here, and `npm run docs` writes it and `npm run check` compares it.

import { API_PAGES } from "./api.mjs";
import { CONFIGURATION_PAGE, configurationPage } from "./configuration.ts";
import { ERRORS_PAGE, errorsPage } from "./errors.ts";
import { FAIL_POINTS_PAGE, failPointsPage } from "./fail-points.ts";

export interface GeneratedPage {
  readonly path: string;
  readonly content: () => string;
}

export const generatedPages: readonly GeneratedPage[] = [
  { path: CONFIGURATION_PAGE, content: configurationPage },
  { path: ERRORS_PAGE, content: errorsPage },
  { path: FAIL_POINTS_PAGE, content: failPointsPage },
  ...API_PAGES,
];
