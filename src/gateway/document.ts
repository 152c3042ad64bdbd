// The API reference as text, made from the routes: for docs/api/ (scripts/docs) and its check.
// Must not: need bindings: routes are listed, not run.
import { ERROR_CODES } from "../wire/error-codes.ts";
import { createGateway } from "./gateway.ts";
import { openApiDocument } from "./openapi.ts";
import type { Route } from "./route.ts";
import type { GatewayEnv } from "./services.ts";

const WHO: Readonly<Record<Route["access"], string>> = {
  open: "anyone",
  anyKey: "any key",
  root: "root key",
  ownTenant: "root key, or an admin key of this tenant",
  data: "tenant key",
};

/** Settings at their defaults; no binding is touched while routes are only listed. */
const documented = () => createGateway({} as GatewayEnv);

/** Plain JSON data. */
export function openApi(): object {
  return JSON.parse(JSON.stringify(openApiDocument(documented().application)));
}

export function apiMarkdown(): string {
  const rows = documented().routes.map((route) => {
    const errors = route.errors.map((code) => `\`${code}\` ${ERROR_CODES[code].status}`).join(", ");
    return `| \`${route.method.toUpperCase()} ${route.path}\` | ${route.summary} | ${WHO[route.access]} | ${errors} |`;
  });
  return `# HTTP API

Made from the routes of \`src/gateway\` by \`npm run docs\`: changes here are lost. The schemas are in
[openapi.yaml](openapi.yaml), which a running server gives at \`/v1/openapi.json\`. Every path is served under \`/api\` too.

Every route may also answer \`invalidRequest\` 400, \`rateLimited\` 429, \`unavailable\` 503 and \`internal\` 500, and every route
that needs a key \`unauthenticated\` 401 and \`forbidden\` 403. What each means: [errors.md](../errors.md).

| route | what it does | who may | own errors |
|---|---|---|---|
${rows.join("\n")}
`;
}
