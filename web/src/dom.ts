// Builds nodes. Text only ever becomes a text node, and an address only ever a link to http, https or mail: what models and
// documents say is shown, never obeyed.

import { visible } from "./letters.ts";

export type Child = Node | string | number | null | undefined | false | Child[];
type Listeners = Record<string, (event: never) => void>;
export type Options = Record<string, string | number | boolean | null | undefined | Listeners>;

const PROPERTIES = new Set(["disabled", "value", "checked", "hidden", "multiple", "open", "required", "tabIndex", "rows"]);
const ATTRIBUTES =
  /^(aria-[a-z]+|data-[a-z-]+|class|id|role|type|name|for|placeholder|title|scope|colspan|datetime|autocomplete|spellcheck|accept|maxlength)$/;

/** An element: `on` holds listeners; anything that is not on the short list of attributes is a mistake and throws. */
export function h<K extends keyof HTMLElementTagNameMap>(tag: K, options: Options = {}, ...children: Child[]): HTMLElementTagNameMap[K] {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined || value === null || value === false) continue;
    if (typeof value === "object") listen(node, value);
    else if (PROPERTIES.has(name)) Reflect.set(node, name, value);
    else if (ATTRIBUTES.test(name)) node.setAttribute(name, value === true ? "" : String(value));
    else throw new Error(`no attribute of this page: ${name}`);
  }
  return add(node, children);
}

function listen(node: HTMLElement, listeners: Listeners): void {
  for (const [event, listener] of Object.entries(listeners)) node.addEventListener(event, listener as EventListener);
}

/** One by one: a long text has more pieces than a call takes arguments. */
function add<T extends Node>(node: T, children: Child[]): T {
  for (const child of (children as unknown[]).flat(Infinity) as Exclude<Child, Child[]>[]) {
    if (child === undefined || child === null || child === false) continue;
    node.appendChild(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return node;
}

/** Puts these in place of all that the node holds. */
export function fill<T extends Node & ParentNode>(node: T, ...children: Child[]): T {
  node.replaceChildren();
  return add(node, children);
}

/** A button; `kind` is primary, quiet or danger. */
export function button(label: Child, onClick: () => unknown, { kind = "", ...options }: Options & { kind?: string } = {}): HTMLButtonElement {
  return h("button", { type: "button", class: `button ${kind}`.trim(), ...options, on: { click: () => void onClick() } }, label);
}

/** A link within the hub's page, to a place named in its fragment. */
export function go(fragment: string, label: Child, options: Options = {}): HTMLAnchorElement {
  const node = h("a", options, label);
  node.href = `#${fragment}`;
  return node;
}

const OWN_VIEW = /^#(approval|conversation)=[0-9a-f-]{36}$/;

/**
 * A link that shows where it leads; anything but http, https and mail stays text. Of the hub's own addresses only views
 * are links: one that carries a token would sign its reader in as somebody else.
 */
export function link(address: string, label: string, home: URL): Node {
  const url = addressOf(address);
  const isHome = url?.origin === home.origin;
  if (!url || (isHome && !(OWN_VIEW.test(url.hash) && url.pathname === home.pathname && !url.search))) {
    return document.createTextNode(label === address ? label : `${label} (${address})`);
  }
  if (isHome && location.origin === home.origin && location.pathname === home.pathname) return go(url.hash.slice(1), label);
  const node = h("a", { title: url.href }, label);
  node.href = url.href;
  node.rel = "noopener noreferrer nofollow";
  node.target = "_blank";
  const shown = label.trim();
  const says = shown === address || shown === url.href || url.href === `mailto:${shown}`;
  return says ? node : h("span", {}, node, h("span", { class: "where" }, ` (${url.host || url.pathname})`));
}

/** The address of a link that may be followed; null: it is none. */
export function addressOf(address: string): URL | null {
  try {
    const url = new URL(address);
    return ["https:", "http:", "mailto:"].includes(url.protocol) && !url.username && !url.password ? url : null;
  } catch {
    return null;
  }
}

/** A small coloured word; `tone` is good, warn, bad or plain, and the word itself says it too. */
export function badge(word: string, tone = "plain"): HTMLElement {
  return h("span", { class: `badge ${tone}` }, word);
}

const TONES: Record<string, string> = {
  allow: "good", done: "good", executed: "good", approved: "good", accepted: "good", ready: "good", completed: "good",
  needs_approval: "warn", waiting: "warn", pending: "warn", queued: "warn", running: "warn", parsing: "warn",
  embedding: "warn", executing: "warn", in_progress: "warn",
  deny: "bad", denied: "bad", invalid: "bad", failed: "bad", rejected: "bad", expired: "bad",
};

/** The badge of a decision, an outcome or a state of the contract. */
export function stateBadge(word: string | null | undefined): HTMLElement | null {
  return word ? badge(word.replaceAll("_", " "), TONES[word] ?? "plain") : null;
}

/** A moment as people of this browser's language write it, to the second where asked; the exact one in its title. */
export function time(iso: string | null | undefined, seconds = false): HTMLElement | null {
  if (!iso) return null;
  const moment = new Date(iso);
  if (Number.isNaN(moment.getTime())) return h("span", {}, iso);
  const clock: Intl.DateTimeFormatOptions = { hour: "2-digit", minute: "2-digit", ...(seconds ? { second: "2-digit" } : {}) };
  const now = new Date();
  const today = now.toDateString() === moment.toDateString();
  const year: Intl.DateTimeFormatOptions = now.getFullYear() === moment.getFullYear() ? {} : { year: "numeric" };
  const shown = today ? moment.toLocaleTimeString([], clock) : moment.toLocaleString([], { day: "numeric", month: "short", ...year, ...clock });
  return h("time", { datetime: iso, title: moment.toLocaleString() }, shown);
}

/** A JSON value as text that fits its place. */
export function json(value: unknown): string {
  return typeof value === "string" ? value : (JSON.stringify(value, null, 2) ?? "");
}

const MOMENT = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/;

/** Named values as a table of two columns; as they are, or where `isTold` with moments as people write them. */
export function table(values: unknown, caption?: string, isTold = false): HTMLElement {
  const rows = typeof values === "object" && values !== null ? Object.entries(values) : [];
  if (!rows.length) return h("p", { class: "faint" }, "none");
  return h("table", { class: "values" },
    caption && h("caption", { class: "unseen" }, caption),
    h("tbody", {}, rows.map(([name, value]) => h("tr", {}, h("th", { scope: "row" }, visible(name)), h("td", {}, cell(value, isTold))))));
}

/** A value as a table shows it. */
export function cell(value: unknown, isTold = false): Node {
  if (isTold && typeof value === "string" && MOMENT.test(value)) return time(value) ?? h("span");
  if (value === null || value === undefined || value === "") return h("span", { class: "faint" }, "–");
  if (typeof value !== "object") return h("span", { class: "kept" }, visible(String(value)));
  if (!Object.values(value).every(isPlain)) return h("pre", { class: "small", tabIndex: 0 }, visible(json(value)));
  return Array.isArray(value) ? h("span", { class: "kept" }, visible(value.join(", ")) || "–") : table(value, undefined, isTold);
}

function isPlain(value: unknown): boolean {
  return value === null || typeof value !== "object";
}

const SHAPES: Record<string, string> = {
  after: "M9 5l7 7-7 7",
  again: "M20 11a8 8 0 1 0-2.3 6.3M20 5v6h-6",
  before: "M15 5l-7 7 7 7",
  copy: "M9 9h11v11H9zM15 9V4H4v11h5",
  down: "M17 14V3M17 4H8a3 3 0 0 0-2.9 2.2l-1.6 6A2 2 0 0 0 5.4 15H10l-1 4a2 2 0 0 0 3.6 1.5L17 14h4V4h-4",
  edit: "M4 20h4L19 9l-4-4L4 16v4M13 7l4 4",
  up: "M7 10v11M7 20h9a3 3 0 0 0 2.9-2.2l1.6-6A2 2 0 0 0 18.6 9H14l1-4a2 2 0 0 0-3.6-1.5L7 10H3v10h4",
  attach: "M21 11.5 12.4 20a5.6 5.6 0 0 1-8-8l8.7-8.6a3.8 3.8 0 0 1 5.4 5.3l-8.7 8.6a1.9 1.9 0 0 1-2.7-2.7l8-7.9",
  close: "M5 5l14 14M19 5 5 19",
  send: "M12 20V4M5 11l7-7 7 7",
};

/** A drawing of one line; whoever shows it says beside it what it means. */
export function icon(name: string): SVGElement {
  const drawing = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
  for (const [attribute, value] of [["viewBox", "0 0 24 24"], ["class", "icon"], ["aria-hidden", "true"]] as const) {
    drawing.setAttribute(attribute, value);
  }
  line.setAttribute("d", SHAPES[name] ?? "");
  drawing.append(line);
  return drawing;
}
