// The vector kernels in a Worker, for the comparison with Node: /build?count=&queries=, then /search?rounds=&ef=.

import module from "../../../dist/wasm/vector.wasm";
import { kernelWork } from "../lib/vector-kernel-work.mjs";

let work;

export default {
  fetch(request) {
    const { pathname, searchParams } = new URL(request.url);
    const number = (name) => Number(searchParams.get(name));
    if (pathname === "/open") work = kernelWork(module, { count: number("count"), queryCount: number("queries") });
    else if (pathname === "/build") return new Response(String(work.build()));
    else if (pathname === "/search") return new Response(String(work.search(number("rounds"), number("ef"))));
    return new Response("ok");
  },
};
