// A stream of etcd's JSON gateway: a line of JSON for each message.
// Guarantees: a client that does not read holds up its own stream and nobody else's. Must not: know what messages mean.
import { type EtcdError, etcdErrorOf, GRPC, httpStatusOf, refusal } from "../etcd/errors.ts";

const encoder = new TextEncoder();
/** WebSocket close code: the credential ended. */
const POLICY = 1008;

/** `json`: of one message. */
export function lineOf(json: string): string {
  return `{"result":${json}}\n`;
}

/** What ends a stream whose watch connection was closed. */
export function closedBy(code: number): EtcdError {
  return code === POLICY ? refusal("invalidToken") : etcdErrorOf({ code: "unavailable", message: "" });
}

/** What the client is sent. */
export class Lines {
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  onGone: () => void = () => undefined;

  constructor(writer: WritableStreamDefaultWriter<Uint8Array>) {
    this.#writer = writer;
    // Ends when the client leaves, too.
    writer.closed.catch(() => this.onGone());
  }

  /** Resolves when the client has room for more. */
  async write(text: string): Promise<void> {
    try {
      await this.#writer.write(encoder.encode(text));
    } catch {
      this.onGone(); // the client left
    }
  }

  /** As etcd's gateway ends a stream. */
  async fail(error: EtcdError): Promise<void> {
    await this.write(failureLine(error));
    await this.#writer.close().catch(() => undefined); // the client left
  }
}

export function failureLine({ code, message }: EtcdError): string {
  const error = { grpc_code: code, http_code: httpStatusOf(code), message, http_status: STATUS_TEXT[code] ?? "" };
  return `${JSON.stringify({ error })}\n`;
}

const STATUS_TEXT: Readonly<Record<number, string>> = {
  [GRPC.unavailable]: "Service Unavailable",
  [GRPC.unauthenticated]: "Unauthorized",
};
