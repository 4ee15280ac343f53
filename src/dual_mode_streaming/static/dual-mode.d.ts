// The types of dual-mode.js.

/** An item. `data` is text, as it came; an event without a name is a "message". */
export interface StreamEvent {
  event: string;
  data: string;
  id: string;
}

/** Why and how long `follow` waits before its next connection; `now()` ends the wait. */
export interface Wait {
  /** In milliseconds. */
  delay: number;
  /** The failures in a row, this one included. */
  failed: number;
  error: Error;
  now(): void;
}

/** Headers, or a function that returns them for each connection. After a 401 it is called once more, with `denied`.
 * If it throws a TypeError, as `fetch` does without a network, or a StreamError with a temporary status, the
 * attempt has failed and is repeated; any other error ends the loop. */
export type HeadersSource = HeadersInit | ((why: { denied: boolean }) => HeadersInit | Promise<HeadersInit>);

/** A URL, or a function that returns one for each connection, with a new token in it, for example.
 * It is called with the Location of the recorded stream, as soon as this is known. It may throw as `HeadersSource`. */
export type URLSource = string | URL | ((location: string | null) => string | URL | Promise<string | URL>);

/** What `fetch` takes (`credentials`, …), and: */
export interface FollowOptions extends Omit<RequestInit, "body" | "headers"> {
  /** GET without a body, else POST. */
  method?: string;
  headers?: HeadersSource;
  /** What `fetch` takes, except a stream; or an object or array, which is sent as JSON. */
  body?: Exclude<BodyInit, ReadableStream> | object | null;
  /** Ends the loop; its reason is thrown. */
  signal?: AbortSignal;
  /** Called when the stream begins again, or continues after a gap: discard what has come.
   * Without it, that is an error. */
  onReset?(why: { reason: string; requested?: string; earliest?: string; head?: string }): unknown;
  /** Called with each response that is a stream, before its events. */
  onOpen?(response: Response): unknown;
  /** Called before each wait. */
  onWait?(wait: Wait): unknown;
  /** Begin after this event; it was kept from an earlier `follow`. */
  lastEventId?: string;
  /** The name of the event that is a failure, if the endpoint has set another than "error". */
  errorEvent?: string;
  /** The attempts in a row without a new event: 6. */
  attempts?: number;
  /** Milliseconds before the second attempt, if the server names none: 1000. Each further wait is twice as long. */
  delay?: number;
  /** The longest wait in milliseconds: 30000. A server that asks for more is given up. */
  maxWait?: number;
  /** The silence in milliseconds that counts as a cut: 45000, three heartbeats. */
  readTimeout?: number;
  /** Instead of the global `fetch`. */
  fetch?(request: Request): Promise<Response>;
}

/** The items, once. To leave the loop closes the connection. */
export interface Stream extends AsyncGenerator<StreamEvent, void, void> {
  /** The URL of the recorded stream, once it is known: to stop it, or to follow it after a reload. */
  readonly location: string | null;
  /** The id of the newest event. */
  readonly lastEventId: string;
  /** How the stream ended; only "done" says that it is complete. "no-content": nothing comes after `lastEventId`. */
  readonly end: string | null;
}

/** A stream that failed, was refused, or broke off and could not be continued. */
export class StreamError extends Error {
  constructor(message: string, fields?: { status?: number; title?: string; detail?: string; cause?: unknown });
  /** The status of a refusal, or of a failure in the stream. */
  readonly status: number | null;
  readonly title: string;
  readonly detail: string;
  /** "error", "interrupted", or "reset" without an `onReset`; null if it was not an event. */
  readonly event: string | null;
  /** What the server sent: an RFC 9457 problem, if it is of this package. */
  readonly problem?: Record<string, unknown>;
}

/**
 * Read a stream to its end, over any number of connections.
 *
 * The loop ends at `done` and `cancelled`, and throws a `StreamError` at `error`, at `interrupted`, at a
 * refusal, and when all attempts have failed. A cut, a clean end without an end event, 429, 502, 503 and
 * 504 are followed by another connection. A recorded stream is continued at its `Location`; a POST is not
 * sent again once it may have arrived, unless it has an `Idempotency-Key`.
 */
export function follow(url: URLSource, options?: FollowOptions): Stream;

/** Stop a recorded stream on the server: `POST {url}/cancel`. `url` is its Location. Returns its state. */
export function stop(
  url: string | URL,
  options?: Omit<RequestInit, "method" | "headers"> & {
    headers?: HeadersSource;
    fetch?(url: URL, options: RequestInit): Promise<Response>;
  },
): Promise<{ stream: string; state: string; items: number }>;
