// Builds every node of the page. Text only ever becomes a text node, and an address only ever a link to http or https:
// what models and documents say is shown, never obeyed.

const PROPERTIES = new Set(["disabled", "value", "checked", "hidden", "multiple", "open", "required", "tabIndex"]);
const ATTRIBUTES = /^(aria-[a-z]+|data-[a-z-]+|class|id|role|type|name|for|placeholder|title|rows|scope|colspan|datetime|dir|lang|autocomplete|spellcheck|accept|start|maxlength)$/;

const OWN_VIEW = /^#(approval|conversation)=[0-9a-f-]{36}$/;

/** An element: `on` holds listeners; anything that is not on the short list of attributes is a mistake and throws. */
export function h(tag, options = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "on") for (const [event, listener] of Object.entries(value)) node.addEventListener(event, listener);
    else if (PROPERTIES.has(name)) node[name] = value;
    else if (ATTRIBUTES.test(name)) node.setAttribute(name, value === true ? "" : String(value));
    else throw new Error(`no attribute of this page: ${name}`);
  }
  return add(node, children);
}

/** One by one: a long text has more pieces than a call takes arguments. */
function add(node, children) {
  for (const child of children.flat(Infinity)) {
    if (child !== undefined && child !== null && child !== false) node.append(child);
  }
  return node;
}

/**
 * A link that shows where it leads; anything but http and https stays text. Of this server's own addresses only views are
 * links: one that carries a token would sign its reader in as somebody else.
 */
export function link(address, label) {
  const url = webAddress(address);
  const own = url?.origin === location.origin;
  if (own && OWN_VIEW.test(url.hash) && url.pathname === location.pathname && !url.search) return go(url.hash.slice(1), label);
  if (!url || own) return document.createTextNode(label === address ? label : `${label} (${address})`);
  const node = h("a", { title: url.href }, label);
  node.href = url.href;
  node.rel = "noopener noreferrer nofollow";
  node.target = "_blank";
  const shown = label.trim();
  return shown === address || shown === url.href ? node : h("span", {}, node, h("span", { class: "where" }, ` (${url.host})`));
}

/** A link within this page, to a place named in its fragment. */
export function go(fragment, label, options = {}) {
  const node = h("a", options, label);
  node.href = `#${fragment}`;
  return node;
}

function webAddress(address) {
  try {
    const url = new URL(address);
    return (url.protocol === "https:" || url.protocol === "http:") && !url.username && !url.password ? url : null;
  } catch {
    return null;
  }
}

/** Puts these in place of all that the node holds. */
export function fill(node, ...children) {
  node.replaceChildren();
  return add(node, children);
}

/** A button; `kind` is primary, quiet or danger. */
export function button(label, onClick, { kind = "", ...options } = {}) {
  return h("button", { type: "button", class: `button ${kind}`, ...options, on: { click: onClick } }, label);
}

/** A small coloured word; `tone` is good, warn, bad or plain, and the word itself says it too. */
export function badge(word, tone = "plain", title) {
  return h("span", { class: `badge ${tone}`, title }, word);
}

const TONES = {
  allow: "good", done: "good", executed: "good", approved: "good", ready: "good", completed: "good",
  needs_approval: "warn", waiting: "warn", pending: "warn", queued: "warn", running: "warn", parsing: "warn",
  embedding: "warn", executing: "warn", in_progress: "warn",
  deny: "bad", denied: "bad", invalid: "bad", failed: "bad", rejected: "bad", expired: "bad",
};

/** The badge of a decision, an outcome or a state of the contract. */
export function stateBadge(word) {
  return word ? badge(word.replaceAll("_", " "), TONES[word] ?? "plain") : null;
}

/** A moment as people of this browser's language write it, to the second where asked; the exact one in its title. */
export function time(iso, { seconds = false } = {}) {
  if (!iso) return null;
  const moment = new Date(iso);
  if (Number.isNaN(moment.getTime())) return h("span", {}, iso);
  const today = new Date().toDateString() === moment.toDateString();
  const clock = { hour: "2-digit", minute: "2-digit", ...(seconds ? { second: "2-digit" } : {}) };
  const shown = today ? moment.toLocaleTimeString([], clock) : moment.toLocaleString([], { day: "numeric", month: "short", ...clock });
  return h("time", { datetime: iso, title: moment.toLocaleString() }, shown);
}

/** A JSON value as text that fits its place. */
export function json(value) {
  return typeof value === "string" ? value : JSON.stringify(value, null, 2);
}

/** Named values as a table of two columns. */
export function table(values, caption) {
  const rows = Object.entries(values ?? {});
  if (!rows.length) return h("p", { class: "faint" }, "none");
  return h("table", { class: "values" },
    caption && h("caption", { class: "unseen" }, caption),
    h("tbody", {}, rows.map(([name, value]) => h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, cell(value))))));
}

function cell(value) {
  if (value === null || value === undefined) return h("span", { class: "faint" }, "–");
  if (typeof value !== "object") return h("span", { class: "kept" }, String(value));
  if (!Object.values(value).every(isPlain)) return h("pre", { class: "small", tabIndex: 0 }, json(value));
  return Array.isArray(value) ? h("span", { class: "kept" }, value.join(", ") || "–") : table(value);
}

function isPlain(value) {
  return value === null || typeof value !== "object";
}
