// The page at `/`: who is signed in, which view the address names, and the list at the side; the conversation is the widget.

import { button, fill, go, h } from "../dom.ts";
import type { GlowChat } from "../element.ts";
import { Hub, isAway, pause, Refused, wordsOf, type Credential } from "../hub.ts";
import { roleName, titles } from "../words.ts";
import { showApproval, showApprovals } from "./approvals.ts";
import { archiveOf } from "./archive.ts";
import { DECIDING, showAutonomy } from "./autonomy.ts";
import { showAway } from "./away.ts";
import { credential, linkedCredential } from "./credential.ts";
import { showDocuments } from "./documents.ts";
import type { Page } from "./frame.ts";
import { showMemory } from "./memory.ts";
import { showOpenCalls } from "./open_calls.ts";
import { showActivity } from "./records.ts";
import { showSchedules } from "./schedules.ts";
import { brand, settled, signIn, type Me } from "./sign_in.ts";
import { showSources } from "./sources.ts";
import { showTasks } from "./tasks.ts";

const VIEWS: readonly (readonly [string, string])[] = [
  ["", "Chat"], ["approvals", "Approvals"], ["tasks", "Tasks"], ["schedules", "Schedules"], ["documents", "Documents"], ["sources", "Sources"], ["activity", "Activity"], ["autonomy", "Autonomy"], ["memory", "Memory"],
];
/** Of views that belong to another one of the list. */
const TITLES: Readonly<Record<string, string>> = { approval: "Approval", away: "While you are away", open: "Calls left open" };
const APPROVALS_EVERY_MS = 30_000;
const SEARCH_AFTER_MS = 200;

interface Listed {
  conversation_id: string;
  title: string;
  awaits_title: boolean;
  matches: { run_id: string; role: string; snippet: string }[];
}

const main = place("main");
const side = place("side");
const offline = place("offline");
const hub = new Hub({
  base: () => document.baseURI,
  credential: () => credential.kept,
  signedOut: (fault) => me && askToken(fault),
});
const archive = archiveOf(hub);

let me: Me | null = null;
let model: string | null = null;
let chat: GlowChat | null = null;
let leaving = new AbortController();
let isWatching = false;
let views = new Map<string, HTMLElement>();
let usable: ReadonlySet<string> = new Set();
let waiting = h("span", { class: "count", hidden: true });
let proposed = h("span", { class: "count", hidden: true });
let conversations = h("ul", { class: "conversations" });
let searched = h("p", { class: "unseen", role: "status" });
let search = searchField();

function place(id: string): HTMLElement {
  const found = document.getElementById(id);
  if (!found) throw new Error(`no #${id} on this page`);
  return found;
}

/** From the very beginning, with whoever is signed in as the hub knows them; `linked` is a link's credential. */
async function start(linked: Credential | null = linkedCredential()): Promise<void> {
  try {
    if (linked && !(await settled(hub, linked, leave()))) {
      me = null;
      return;
    }
    if (!credential.token) return askToken();
    me = await hub.get<Me>("v1/me");
  } catch (fault) {
    return isAway(fault) ? away(linked) : askToken(fault);
  }
  offline.hidden = true;
  document.body.classList.add("signed-in");
  [model, usable] = await Promise.all([modelName(), learnTools()]);
  layOutSide(me);
  if (!isWatching) void watchApprovals();
  await route();
}

/** The hub says before any run whether it has a model. */
async function modelName(): Promise<string | null> {
  try {
    const { dependencies } = await hub.get<{ dependencies: { model: { state: string; detail?: string } } }>("readiness");
    return dependencies.model.state === "offline" ? "offline" : (dependencies.model.detail ?? null);
  } catch {
    return null;
  }
}

/** What people call the tools, and which of them the role may use; a name without a title is shown in words. */
async function learnTools(): Promise<ReadonlySet<string>> {
  try {
    const { items } = await hub.get<Page<{ name: string; title: string }>>("v1/tools?limit=100");
    for (const tool of items) titles.set(tool.name, tool.title);
    return new Set(items.map((tool) => tool.name));
  } catch {
    // Names will do.
    return new Set();
  }
}

/** Ends what the view at hand is doing, and gives the place for the next. */
function leave(): HTMLElement {
  leaving.abort();
  leaving = new AbortController();
  chat?.remove();
  chat = null;
  document.body.classList.remove("side-open");
  return main;
}

async function route(): Promise<void> {
  leave();
  const { signal } = leaving;
  const found = new URLSearchParams(location.hash.slice(1));
  const view = [...found.keys()][0] ?? "";
  mark(view);
  document.title = `${TITLES[view] ?? (VIEWS.find(([name]) => name === viewOf(view))?.[1] ?? "Chat")} · Prisma Glow`;
  try {
    await show(view, found, signal);
  } catch (fault) {
    if (signal.aborted || (fault instanceof Refused && fault.status === 401)) return;
    const words = fault instanceof Refused && fault.status === 404 ? "There is no such thing, or it is not yours to see." : wordsOf(fault);
    fill(main, h("div", { class: "wide" }, h("h1", { tabIndex: -1 }, "Not to be shown"), h("p", { class: "error", role: "alert" }, words), button("Try again", route)));
  }
  if (!chat && !signal.aborted) main.querySelector("h1")?.focus();
}

async function show(view: string, found: URLSearchParams, signal: AbortSignal): Promise<void> {
  switch (view) {
    case "approval":
      return showApproval(hub, main, found.get("approval") ?? "", countApprovals);
    case "approvals":
      return showApprovals(hub, main);
    case "open":
      return showOpenCalls(main, { hub, signal, usable });
    case "away":
      return showAway(main, { hub, signal, who: me?.principal ?? "", role: me?.role ?? "", usable });
    case "tasks":
      return showTasks(hub, main, signal, me?.principal ?? "");
    case "schedules":
      return showSchedules(hub, main, signal, found.get("schedules"));
    case "documents":
      return showDocuments(main, { hub, signal, who: me?.principal ?? "", role: me?.role ?? "", usable });
    case "sources":
      return showSources(main, { hub, signal, who: me?.principal ?? "", usable });
    case "memory":
      return showMemory(hub, main);
    case "activity":
      return showActivity(hub, main);
    case "autonomy":
      return showAutonomy(hub, main, { mayDecide: usable.has(DECIDING), decided: () => void countProposals() });
    default:
      return openChat(found.get("conversation"));
  }
}

/** The conversation is the same element that other sites embed, with what only this page may read. */
function openChat(conversation: string | null): void {
  chat = document.createElement("glow-chat") as GlowChat;
  chat.archive = archive;
  chat.model = model;
  chat.titles = titles;
  chat.organization = credential.kept.organization ?? null;
  if (conversation) chat.setAttribute("conversation", conversation);
  chat.token = credential.token;
  chat.addEventListener("glow-conversation", (event) => {
    const { conversation: id, answered } = (event as CustomEvent<{ conversation: string; answered?: true }>).detail;
    conversationChanged(id, answered ?? false);
  });
  chat.addEventListener("glow-approval", () => void countApprovals());
  chat.addEventListener("glow-sign-in", () => me && askToken(new Refused(401, { detail: "Your sign-in has ended." })));
  fill(main, chat);
  chat.focus();
}

function conversationChanged(id: string, answered: boolean): void {
  if (!chat) return;
  history.replaceState(null, "", `#conversation=${id}`);
  mark("conversation", id);
  void (answered ? awaitTitle(id) : listConversations());
}

/** The list as it stands, and again while a model may still name the conversation: nothing says when it has. */
async function awaitTitle(id: string): Promise<void> {
  for (const wait of [500, 1000, 2000, 4000, 8000, 16_000]) {
    const listed = await listConversations();
    if (!listed.some((item) => item.conversation_id === id && item.awaits_title)) return;
    await pause(wait);
    if (chat?.conversation !== id) return;
  }
  await listConversations();
}

/** The view in the list at the side to which this one belongs. */
function viewOf(view: string): string {
  return { conversation: "", approval: "approvals", away: "approvals", open: "approvals" }[view] ?? view;
}

function mark(view: string, conversation = new URLSearchParams(location.hash.slice(1)).get("conversation")): void {
  for (const [name, node] of views) current(node, name === viewOf(view) ? "page" : null);
  for (const node of conversations.querySelectorAll("a")) current(node, node.dataset.id === conversation ? "true" : null);
}

function current(node: HTMLElement, as: string | null): void {
  if (as) node.setAttribute("aria-current", as);
  else node.removeAttribute("aria-current");
}

function layOutSide(who: Me): void {
  waiting = h("span", { class: "count", hidden: true });
  proposed = h("span", { class: "count", hidden: true });
  // Sources are the firm's own: a client is told of none.
  const shown = VIEWS.filter(([name]) => name !== "sources" || who.role !== "CLIENT");
  views = new Map(shown.map(([name, label]) => [name, go(name, label, { class: "view" })]));
  views.get("approvals")?.append(waiting);
  views.get("autonomy")?.append(proposed);
  conversations = h("ul", { class: "conversations" });
  searched = h("p", { class: "unseen", role: "status" });
  search = searchField();
  fill(side,
    brand(),
    button("New conversation", startAnew, { kind: "primary wide-button" }),
    h("nav", { "aria-label": "Views" }, [...views.values()]),
    h("h2", { class: "side-title" }, "Conversations"), search, searched, conversations,
    identity(who));
  void listConversations();
}

function startAnew(): void {
  if (location.hash && location.hash !== "#") location.hash = "";
  else void route();
}

function identity(who: Me): HTMLElement {
  return h("div", { class: "me" },
    h("strong", { title: who.principal }, who.display_name || who.principal),
    h("span", { class: "faint" }, `${roleName(who.role)} at ${who.organization}`),
    h("div", { class: "row" },
      h("span", { class: "faint", title: "How far the agent goes without asking, from L0 to L3" }, `Agent autonomy ${who.autonomy}`),
      button("Sign out", signOut, { kind: "quiet small" })));
}

/** Looks through titles and messages as one types; what was asked last is what is shown. */
function searchField(): HTMLInputElement {
  const field = h("input", { type: "search", id: "search", placeholder: "Search", "aria-label": "Search your conversations", maxlength: 300, autocomplete: "off" });
  let timer: ReturnType<typeof setTimeout> | undefined;
  field.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => void listConversations(), SEARCH_AFTER_MS);
  });
  return field;
}

async function listConversations(): Promise<Listed[]> {
  try {
    const words = search.value.trim();
    const asked = words ? `&q=${encodeURIComponent(words)}` : "";
    const { items } = await hub.get<Page<Listed>>(`v1/conversations?limit=50${asked}`);
    if (words !== search.value.trim()) return [];
    searched.textContent = words ? `${items.length} found` : "";
    const shown = chat?.conversation ?? null;
    fill(conversations, items.length
      ? items.map((item) => h("li", {}, go(`conversation=${item.conversation_id}`, item.title || "Conversation", {
        "data-id": item.conversation_id, title: item.title, "aria-current": item.conversation_id === shown ? "true" : null }),
        words ? item.matches.slice(0, 1).map((match) => h("p", { class: "faint snippet" }, match.snippet)) : null))
      : h("li", { class: "faint" }, words ? "Nothing found" : "None yet"));
    titled(items.find((item) => item.conversation_id === shown)?.title);
    return items;
  } catch {
    // The list stays as it was.
    return [];
  }
}

function titled(title: string | undefined): void {
  if (!title || !chat) return;
  chat.titled(title);
  document.title = `${title} · Prisma Glow`;
}

async function watchApprovals(): Promise<void> {
  isWatching = true;
  for (;;) {
    if (!document.hidden && credential.token) await Promise.all([countApprovals(), countProposals()]);
    await pause(APPROVALS_EVERY_MS);
  }
}

function countApprovals(): Promise<void> {
  return count(waiting, "v1/approvals?state=pending&limit=100");
}

/** Of those who may decide them: to others they are only there to be looked at. */
async function countProposals(): Promise<void> {
  if (usable.has(DECIDING)) await count(proposed, "v1/autonomy/proposals?state=open&limit=100");
}

async function count(node: HTMLElement, path: string): Promise<void> {
  try {
    const { items } = await hub.get<Page<unknown>>(path);
    node.hidden = !items.length;
    fill(node, items.length > 99 ? "99+" : String(items.length), h("span", { class: "unseen" }, " waiting"));
  } catch {
    // The count stays as it was.
  }
}

function signOut(): void {
  credential.forget();
  location.assign(location.pathname);
}

function askToken(fault?: unknown): void {
  me = null;
  leave();
  fill(side);
  signIn(main, () => void start(null), fault);
}

/** The hub is away: said once, and tried again until it is back. */
async function away(linked: Credential | null): Promise<void> {
  offline.hidden = false;
  await pause(3000);
  return start(linked);
}

window.addEventListener("hashchange", () => {
  const linked = linkedCredential();
  if (me && !linked) void route();
  else void start(linked);
});
window.addEventListener("offline", () => {
  offline.hidden = false;
});
window.addEventListener("online", () => {
  offline.hidden = true;
});
document.querySelector(".skip")?.addEventListener("click", (event) => {
  event.preventDefault(); // its fragment is no view
  if (chat) chat.focus();
  else main.focus();
});
place("menu").addEventListener("click", () => document.body.classList.toggle("side-open"));
void start();
