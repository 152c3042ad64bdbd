// Types `env` and `exports` of "cloudflare:workers" for the tests inside workerd.

declare namespace Cloudflare {
  interface Env extends JadeEnv {}
  interface GlobalProps {
    mainModule: typeof import("../../src/worker.ts");
  }
}

type JadeEnv = import("../../objects/env.ts").Env;
