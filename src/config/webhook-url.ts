// Which URLs a subscription may name. The address that a name leads to is judged where the connection is made; here, what can be
// seen: other schemes, credentials, addresses in any notation (the URL parser resolves decimal, octal and hex), local names.
import { isInNetwork, isRefusedAddress, type Network, parseAddress } from "../wire/networks.ts";
import { MAX_WEBHOOK_URL_CHARACTERS } from "./limits.ts";

const LOCAL_NAME = /(^|\.)(localhost|local|internal|intranet|lan|home|corp|private|home\.arpa)$/;

/** Undefined = it may be asked; else what is wrong. `allowed`: networks that the operator opened. */
export function urlProblem(text: string, allowed: readonly Network[]): string | undefined {
  if (text.length > MAX_WEBHOOK_URL_CHARACTERS)
    return `has ${text.length} characters, the limit is ${MAX_WEBHOOK_URL_CHARACTERS}`;
  const url = URL.parse(text);
  if (!url) return "is not a URL";
  if (url.protocol !== "https:" && url.protocol !== "http:") return "must begin with https:// or http://";
  if (url.username !== "" || url.password !== "") return "must not hold a user or a password";
  if (url.hash !== "") return "must not hold a fragment";
  const host = url.hostname.replace(/^\[|\]$/g, "").replace(/\.$/, "");
  const address = parseAddress(host);
  if (address) {
    const isOpen = !isRefusedAddress(address) || allowed.some((network) => isInNetwork(address, network));
    return isOpen ? undefined : `names the address ${host}, which is private, local or reserved`;
  }
  // With no network opened such a name leads nowhere that may be asked. A bare name is one of the local network.
  if (allowed.length === 0 && (LOCAL_NAME.test(host) || !host.includes(".")))
    return `names the host ${host}, which is a local one`;
  return undefined;
}

/** What shares one circuit breaker. */
export function targetOf(url: string): string {
  return new URL(url).host;
}
