// Everything the page asks of the server: the bearer token, errors in words, and streams of events read by hand.

const TOKEN = "glow.token";
const ORGANIZATION = "glow.organization";
const LONGEST_PAUSE_MS = 10_000;

/** A refusal of the server's, or no answer at all (`status` 0). */
export class Refused extends Error {
  constructor(status, problem, retryAfter) {
    super(problem.detail ?? problem.title ?? "The server did not say why.");
    this.status = status;
    this.code = problem.code ?? "";
    this.problem = problem;
    this.retryAfter = retryAfter;
  }
}

/** The token of this tab, and the organization it is used in where it needs one; never kept beyond the tab. */
export const credential = {
  get token() { return sessionStorage.getItem(TOKEN); },
  get kept() { return { token: this.token, organization: sessionStorage.getItem(ORGANIZATION) }; },
  holds({ token, organization }) {
    return token === this.token && (organization || null) === this.kept.organization;
  },
  keep({ token, organization }) {
    sessionStorage.setItem(TOKEN, token);
    if (organization) sessionStorage.setItem(ORGANIZATION, organization);
    else sessionStorage.removeItem(ORGANIZATION);
  },
  forget() {
    sessionStorage.removeItem(TOKEN);
    sessionStorage.removeItem(ORGANIZATION);
  },
};

function headersOf({ token, organization }) {
  return { ...(token ? { Authorization: `Bearer ${token}` } : {}), ...(organization ? { "X-Organization": organization } : {}) };
}

/** Called with every 401 that the kept credential got. */
export const signedOut = { listener: () => {} };

/** `as` is a credential to ask by in place of the kept one. */
async function send(method, path, { body, headers = {}, signal, as } = {}) {
  let response;
  try {
    response = await fetch(new URL(path, document.baseURI), {
      method, body, signal, cache: "no-store", credentials: "omit", redirect: "error", referrerPolicy: "no-referrer",
      headers: { ...headersOf(as ?? credential.kept), ...headers },
    });
  } catch (fault) {
    if (fault.name === "AbortError") throw fault;
    throw new Refused(0, { detail: "The server cannot be reached." });
  }
  if (response.ok) return response;
  const refused = new Refused(response.status, await problemOf(response), Number(response.headers.get("Retry-After")) || null);
  if (response.status === 401 && !as) signedOut.listener(refused);
  throw refused;
}

async function problemOf(response) {
  try {
    return await response.json();
  } catch {
    return { title: response.statusText || `Status ${response.status}` };
  }
}

/** The JSON that a GET answers. */
export async function get(path, options) {
  return (await send("GET", path, { headers: { Accept: "application/json" }, ...options })).json();
}

/** The JSON that a POST answers. */
export async function post(path, value, options = {}) {
  const headers = { Accept: "application/json", ...(value === undefined ? {} : { "Content-Type": "application/json" }) };
  const body = value === undefined ? undefined : JSON.stringify(value);
  const response = await send("POST", path, { headers, body, ...options });
  return response.status === 204 ? null : response.json();
}

/** The JSON that an upload answers. */
export async function upload(path, files) {
  const form = new FormData();
  for (const file of files) form.append("files", file, file.name);
  return (await send("POST", path, { body: form, headers: { Accept: "application/json" } })).json();
}

/** Saves what a GET answers as a file of this name. */
export async function download(path, name) {
  const response = await send("GET", path, { headers: { Accept: "*/*" } });
  const address = URL.createObjectURL(new Blob([await response.blob()], { type: "application/octet-stream" }));
  const anchor = document.createElement("a");
  anchor.href = address;
  anchor.download = name;
  anchor.click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

/** Begins a run and gives its events as they come. */
export async function* chat(message, signal) {
  const headers = { Accept: "text/event-stream", "Content-Type": "application/json" };
  const response = await send("POST", "v1/chat", { headers, body: JSON.stringify(message), signal });
  yield* events(response);
}

/** A run's events above `after`, through lost connections, to its end. */
export async function* follow(run, after, signal) {
  let seen = after;
  for (let failures = 0; ;) {
    try {
      const response = await send("GET", `v1/runs/${run}/events?after=${seen}`, { headers: { Accept: "text/event-stream" }, signal });
      if (response.status === 204) return;
      for await (const event of events(response)) {
        failures = 0;
        seen = Math.max(seen, event.sequence ?? 0);
        yield event;
        if (isTerminal(event)) return;
      }
    } catch (fault) {
      if (fault.name === "AbortError" || (fault.status && fault.status < 500 && fault.status !== 429)) throw fault;
    }
    failures += 1;
    await pause(Math.min(400 * 2 ** failures, LONGEST_PAUSE_MS), signal);
  }
}

/** After such an event nothing follows. */
export function isTerminal(event) {
  return ["run.completed", "run.cancelled", "run.failed"].includes(event.type);
}

/** Server-sent events by hand, since EventSource can neither POST nor carry a token. */
async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let data = [];
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const lines = (rest + value).split(/\r\n|\n|\r(?!$)/);
      rest = lines.pop();
      for (const line of lines) {
        if (line.startsWith("data:")) data.push(line.slice(line[5] === " " ? 6 : 5));
        else if (line === "" && data.length) {
          yield JSON.parse(data.join("\n"));
          data = [];
        }
      }
    }
  } catch (fault) {
    if (fault.name === "AbortError") throw fault;
    throw new Refused(0, { detail: "The connection was lost." });
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** Waits, unless stopped. */
export function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(new DOMException("stopped", "AbortError"));
    }, { once: true });
  });
}
