// The pages of docs/ that are made from code. Add one here, and `npm run docs` writes it and `npm run check` compares it.

import { CONFIGURATION_PAGE, configurationPage } from "./configuration.ts";

export interface GeneratedPage {
  readonly path: string;
  readonly content: () => string;
}

export const generatedPages: readonly GeneratedPage[] = [{ path: CONFIGURATION_PAGE, content: configurationPage }];
