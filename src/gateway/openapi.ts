// The Hono application of the gateway, and its OpenAPI document, both from the list of routes.
import { OpenAPIHono } from "@hono/zod-openapi";
import type { Call } from "./call.ts";
import { VERSION } from "./health.ts";
import { openApiOf, type Route, routerPath } from "./route.ts";
import { OPENAPI_PATH, unroutedError } from "./routes.ts";

type Bindings = { Bindings: { readonly call: Call } };
export type Application = OpenAPIHono<Bindings>;

export function createApplication(
  routes: readonly Route[],
  answerDocument: (call: Call, json: string) => Response,
): Application {
  // The path is the call's, which has lost `/api` already: one set of routes serves both mounts.
  const app: Application = new OpenAPIHono<Bindings>({
    getPath: (_, options) => (options as { env: { call: Call } }).env.call.path,
  });
  for (const route of routes) {
    app.openAPIRegistry.registerPath(openApiOf(route));
    app.on(route.method.toUpperCase(), routerPath(route), (context) => {
      const { call } = context.env;
      call.route = route.path;
      return route.run(call, context.req.param() as Record<string, string>);
    });
  }
  app.openAPIRegistry.registerComponent("securitySchemes", "bearer", { type: "http", scheme: "bearer" });
  let document: string | undefined;
  app.get(OPENAPI_PATH, ({ env: { call } }) => {
    call.route = OPENAPI_PATH;
    document ??= JSON.stringify(openApiDocument(app));
    return answerDocument(call, document);
  });
  app.notFound(({ env: { call } }) => {
    throw unroutedError(routes, call.request.method, call.path);
  });
  app.onError((error) => {
    throw error;
  });
  return app;
}

export function openApiDocument(app: Application): object {
  return app.getOpenAPI31Document({
    openapi: "3.1.0",
    info: {
      title: "JadeDB",
      version: VERSION,
      description: "Every path is served under /api as well (/api/v1/…). Errors: docs/errors.md.",
      license: { name: "Apache-2.0", url: "https://www.apache.org/licenses/LICENSE-2.0" },
    },
  });
}
