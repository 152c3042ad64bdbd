// docs/api/: the OpenAPI document and a page of it for people, both from the gateway's routes.
// The gateway is imported by a computed path: its platform types are not those of this folder's type check.

import { dump } from "js-yaml";

const { apiMarkdown, openApi } = await import(new URL("../../src/gateway/document.ts", import.meta.url).href);

export const API_PAGES = [
  { path: "docs/api/openapi.yaml", content: () => dump(openApi(), { noRefs: true, lineWidth: 110 }) },
  { path: "docs/api/README.md", content: () => /** @type {string} */ (apiMarkdown()) },
];
