// Everything that is asked of the hub: the bearer token, refusals in words, and runs followed through lost connections.

import { eventsOf, piecesOf } from "./sse.ts";
import { isTerminal, type Json, type RunEvent } from "./wire.ts";

const LONGEST_PAUSE_MS = 10_000;
const FIRST_PAUSE_MS = 400;

export interface Problem {
  detail?: string;
  title?: string;
  code?: string;
  /** Of a call that policy denied. */
  verdict?: { reasons?: string[] } | null;
}

/** A refusal of the hub's, or no answer at all (`status` 0). */
export class Refused extends Error {
  readonly status: number;
  readonly code: string;
  /** The rules by which policy denied it. */
  readonly reasons: readonly string[];

  constructor(status: number, problem: Problem) {
    super(problem.detail ?? problem.title ?? "The server did not say why.");
    this.status = status;
    this.code = problem.code ?? "";
    this.reasons = this.status === 403 ? (problem.verdict?.reasons ?? []) : [];
  }
}

/** Whether the hub could not answer, rather than would not. */
export function isAway(fault: unknown): boolean {
  return fault instanceof Refused && (fault.status === 0 || fault.status === 429 || fault.status >= 500);
}

export function isAbort(fault: unknown): boolean {
  return fault instanceof DOMException && fault.name === "AbortError";
}

/** What to tell of a fault. */
export function wordsOf(fault: unknown): string {
  return fault instanceof Error ? fault.message : "Something went wrong.";
}

export interface Credential {
  token: string | null;
  organization?: string | null;
}

export interface Asking {
  method?: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  body?: BodyInit;
  headers?: Record<string, string>;
  signal?: AbortSignal | undefined;
  /** A credential to ask by in place of the kept one. */
  as?: Credential;
}

export interface HubOptions {
  base: () => string;
  credential: () => Credential;
  /** A fresh token after the kept one was refused, or null where there is none to be had. */
  renew?: () => Promise<string | null>;
  /** Called with every 401 that stays one. */
  signedOut?: (refused: Refused) => void;
}

/** What a stream numbers, so that it can be taken up again behind it. */
export interface Numbered {
  sequence: number;
}

export interface Following<E extends Numbered> {
  after: number;
  signal: AbortSignal;
  /** Told when the connection broke, and when it is back. */
  lost?: (isLost: boolean) => void;
  /** Nothing follows such an event. */
  isLast: (event: E) => boolean;
  /** A stream that ends behind such an event was not lost: nothing is to be said for now. */
  rests?: (event: E) => boolean;
}

export interface NewMessage {
  message: string;
  client_message_id: string;
  conversation_id?: string;
  agent?: string;
  engagement_id?: string;
}

export class Hub {
  constructor(private readonly options: HubOptions) {}

  url(path: string): URL {
    return new URL(path, this.options.base());
  }

  /** The JSON that a GET answers. */
  async get<T>(path: string, asking: Asking = {}): Promise<T> {
    const response = await this.send(path, { ...asking, headers: { Accept: "application/json" } });
    return (await response.json()) as T;
  }

  /** The JSON that a POST answers; `key` makes a second sending the same. */
  post<T>(path: string, value?: Json, key?: string): Promise<T> {
    return this.change("POST", path, value, key);
  }

  /** The JSON that a change answers; nothing where it answers nothing. */
  async change<T>(method: "POST" | "PUT" | "PATCH" | "DELETE", path: string, value?: Json, key?: string): Promise<T> {
    const headers: Record<string, string> = { Accept: "application/json" };
    if (value !== undefined) headers["Content-Type"] = "application/json";
    if (key !== undefined) headers["Idempotency-Key"] = key;
    const response = await this.send(path, { method, ...(value === undefined ? {} : { body: JSON.stringify(value) }), headers });
    return (response.status === 204 ? undefined : await response.json()) as T;
  }

  /** The JSON that an upload answers; `fields` go beside the files. */
  async upload<T>(path: string, files: readonly File[], fields: Record<string, string> = {}): Promise<T> {
    const form = new FormData();
    for (const [name, value] of Object.entries(fields)) form.append(name, value);
    for (const file of files) form.append("files", file, file.name);
    const response = await this.send(path, { method: "POST", body: form, headers: { Accept: "application/json" } });
    return (await response.json()) as T;
  }

  /** The file that a GET answers. */
  async file(path: string): Promise<Blob> {
    return (await this.send(path, { headers: { Accept: "*/*" } })).blob();
  }

  /** Begins a run and gives its events as they come. */
  async *chat(message: NewMessage, signal: AbortSignal): AsyncGenerator<RunEvent> {
    const headers = { Accept: "text/event-stream", "Content-Type": "application/json" };
    yield* streamed<RunEvent>(await this.send("v1/chat", { method: "POST", headers, body: JSON.stringify(message), signal }));
  }

  /** Begins another version of a run's answer, or of its message, and gives its events; `key` makes a second sending the same. */
  async *version(act: "regenerate" | "edit", run: string, message: string, key: string, signal: AbortSignal): AsyncGenerator<RunEvent> {
    const typed: Record<string, string> = act === "edit" ? { "Content-Type": "application/json" } : {};
    const body = act === "edit" ? { body: JSON.stringify({ message }) } : {};
    const headers = { Accept: "text/event-stream", "Idempotency-Key": key, ...typed };
    yield* streamed<RunEvent>(await this.send(`v1/runs/${encodeURIComponent(run)}/${act}`, { method: "POST", headers, ...body, signal }));
  }

  /** A run's events above `after`, through lost connections, to its end or to where it waits for a person. */
  follow(run: string, after: number, signal: AbortSignal, lost?: (isLost: boolean) => void): AsyncGenerator<RunEvent> {
    const rests = (event: RunEvent): boolean => event.type === "run.waiting";
    return this.events(`v1/runs/${encodeURIComponent(run)}/events`, { after, signal, ...(lost ? { lost } : {}), isLast: isTerminal, rests });
  }

  /** The events of a stream, through lost connections, to its last. */
  async *events<E extends Numbered>(path: string, { after, signal, lost = () => undefined, isLast, rests = () => false }: Following<E>): AsyncGenerator<E> {
    let seen = after;
    for (let failures = 0; ; ) {
      try {
        const headers = { Accept: "text/event-stream", "Last-Event-ID": String(seen) };
        const response = await this.send(path, { headers, signal });
        lost(false);
        if (response.status === 204) return;
        let isResting = false;
        for await (const event of streamed<E>(response)) {
          failures = 0;
          seen = Math.max(seen, event.sequence);
          isResting = rests(event);
          yield event;
          if (isLast(event)) return;
        }
        if (isResting) return;
      } catch (fault) {
        if (!isAway(fault)) throw fault;
      }
      if (signal.aborted) throw new DOMException("stopped", "AbortError");
      failures += 1;
      if (failures > 1) lost(true);
      await pause(Math.min(FIRST_PAUSE_MS * 2 ** (failures - 1), LONGEST_PAUSE_MS), signal);
    }
  }

  private async send(path: string, asking: Asking): Promise<Response> {
    const first = await this.attempt(path, asking, asking.as ?? this.options.credential());
    if (first.status !== 401 || asking.as) return settled(first);
    const renewed = (await this.options.renew?.()) ?? null;
    const again = renewed === null ? first : await this.attempt(path, asking, { ...this.options.credential(), token: renewed });
    try {
      return await settled(again);
    } catch (fault) {
      if (fault instanceof Refused && fault.status === 401) this.options.signedOut?.(fault);
      throw fault;
    }
  }

  private async attempt(path: string, asking: Asking, as: Credential): Promise<Response> {
    const { method = "GET", body, headers = {}, signal } = asking;
    try {
      return await fetch(this.url(path), {
        method,
        cache: "no-store",
        credentials: "omit",
        redirect: "error",
        referrerPolicy: "no-referrer",
        headers: { ...headersOf(as), ...headers },
        ...(body === undefined ? {} : { body }),
        ...(signal === undefined ? {} : { signal }),
      });
    } catch (fault) {
      if (isAbort(fault)) throw fault;
      throw new Refused(0, { detail: "The server cannot be reached." });
    }
  }
}

function headersOf({ token, organization }: Credential): Record<string, string> {
  return {
    ...(token ? { Authorization: `Bearer ${token}` } : {}),
    ...(organization ? { "X-Organization": organization } : {}),
  };
}

async function settled(response: Response): Promise<Response> {
  if (response.ok) return response;
  throw new Refused(response.status, await problemOf(response));
}

async function problemOf(response: Response): Promise<Problem> {
  try {
    return (await response.json()) as Problem;
  } catch {
    return { title: response.statusText || `Status ${response.status}` };
  }
}

async function* streamed<E>(response: Response): AsyncGenerator<E> {
  if (response.body === null) return;
  try {
    for await (const data of eventsOf(piecesOf(response.body))) yield JSON.parse(data) as E;
  } catch (fault) {
    if (isAbort(fault)) throw fault;
    throw new Refused(0, { detail: "The connection was lost." });
  }
}

/** Waits, unless stopped; a network that comes back ends the wait. */
export function pause(milliseconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const over = new AbortController();
    const timer = setTimeout(() => end(resolve), milliseconds);
    function end(how: () => void): void {
      clearTimeout(timer);
      over.abort();
      how();
    }
    globalThis.addEventListener?.("online", () => end(resolve), { signal: over.signal });
    signal?.addEventListener("abort", () => end(() => reject(new DOMException("stopped", "AbortError"))), { signal: over.signal });
  });
}

/** Random enough to be one message's own; crypto.randomUUID is not there on plain http. */
export function newId(): string {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
