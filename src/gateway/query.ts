// Query strings, strictly: valid UTF-8, each name once. (URLSearchParams would turn invalid bytes into U+FFFD, another key.)
import { z } from "@hono/zod-openapi";
import { type Issue, invalidRequest, parseWith } from "./issues.ts";

function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text.includes("+") ? text.replaceAll("+", " ") : text);
  } catch {
    return undefined;
  }
}

const NO_FIELDS = z.strictObject({});

/** Of routes whose fields are all in the body: a field in the query would go unheard. */
export function requireNoQuery(search: string): void {
  if (search.length > 1) parseWith(NO_FIELDS, parseQuery(search));
}

/** `search` = `?a=1&b=2` or empty. */
export function parseQuery(search: string): Record<string, string> {
  const fields: Record<string, string> = Object.create(null);
  if (search.length <= 1) return fields;
  const issues: Issue[] = [];
  for (const part of search.slice(1).split("&")) {
    if (part === "") continue;
    const equals = part.indexOf("=");
    const name = decode(equals < 0 ? part : part.slice(0, equals));
    const value = decode(equals < 0 ? "" : part.slice(equals + 1));
    if (name === undefined || value === undefined) {
      issues.push({ path: name ?? "", message: "is not percent-encoded UTF-8" });
    } else if (name in fields) {
      issues.push({ path: name, message: "is given more than once" });
    } else {
      fields[name] = value;
    }
  }
  if (issues.length > 0) throw invalidRequest(issues);
  return { ...fields };
}
