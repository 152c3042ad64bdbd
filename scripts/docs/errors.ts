// docs/errors.md, from the table of error codes.

import { ERROR_CODES, type ErrorCategory, type ErrorInfo } from "../../src/wire/error-codes.ts";

export const ERRORS_PAGE = "docs/errors.md";

const CATEGORIES: Readonly<Record<ErrorCategory, string>> = {
  request: "The request is wrong: change it",
  access: "The API key does not allow it",
  state: "It conflicts with what is stored",
  capacity: "Too much or too fast",
  availability: "A part of the system is away: retry",
  internal: "Our fault",
};

const INTRODUCTION = `# Errors

Made from \`src/wire/error-codes.ts\` by \`npm run docs\`: changes here are lost.

Every error is answered with a fitting HTTP status and this body; \`X-Request-Id\` repeats \`requestId\`:

\`\`\`json
{"status":"error","code":"invalidRequest","message":"key is required","details":{"issues":[{"path":"key","message":"is required"}]},
 "category":"request","retryable":false,"requestId":"…","timestamp":"…"}
\`\`\`

Decide by \`code\`, not by \`message\`. \`retryable\` says that the same request may succeed later. Repeat a write with its own
\`Idempotency-Key\`, or with the \`Jade-Write-Id\` that every answer to a write carries: it takes effect once. Answers worth
waiting for carry \`Retry-After\`.
`;

export function errorsPage(): string {
  const parts = [INTRODUCTION];
  for (const [category, title] of Object.entries(CATEGORIES)) {
    const rows = Object.entries<ErrorInfo>(ERROR_CODES).filter(([, info]) => info.category === category);
    parts.push(`## ${title} (\`${category}\`)\n`, "| code | status | retryable | what to do |\n|---|---|---|---|");
    for (const [code, { status, retryable, help }] of rows) {
      parts.push(`| \`${code}\` | ${status} | ${retryable ? "yes" : "no"} | ${help} |`);
    }
    parts.push("");
  }
  return `${parts.join("\n").trimEnd()}\n`;
}
