// Exit 0 when the instance in this container answers /v1/health. Asked over loopback, so its certificate is not judged.
import http from "node:http";
import https from "node:https";

const url = new URL("/v1/health", process.env.JADE_HEALTH_URL ?? "http://127.0.0.1:8787");
const { get } = url.protocol === "https:" ? https : http;
get(url, { timeout: 4000, rejectUnauthorized: false }, ({ statusCode }) => process.exit(statusCode === 200 ? 0 : 1))
  .on("timeout", () => process.exit(1))
  .on("error", () => process.exit(1));
