// The page as a whole: who is signed in, which view the address names, and the list at the side.

import { credential, get, pause, signedOut } from "./api.js";
import { showApproval, showApprovals } from "./approvals.js";
import { ChatView } from "./chat.js";
import { button, fill, go, h } from "./dom.js";
import { close } from "./panel.js";
import { showActivity, showDocuments, showTasks } from "./records.js";
import { isAway, linkedCredential, settled, signIn } from "./sign_in.js";
import { roleName, titles } from "./words.js";

const VIEWS = [["", "Chat"], ["approvals", "Approvals"], ["tasks", "Tasks"], ["documents", "Documents"], ["activity", "Activity"]];
const APPROVALS_EVERY_MS = 30_000;

const main = document.getElementById("main");
const side = document.getElementById("side");
const offline = document.getElementById("offline");

let me = null;
let model = null;
let chat = null;
let leaving = new AbortController();
let watching = null;
const places = { conversations: null, views: new Map(), waiting: null };

/** From the very beginning, with whoever is signed in as the server knows them; `linked` is a link's credential. */
async function start(linked = linkedCredential()) {
  try {
    if (linked && !(await settled(linked, leave()))) return void (me = null);
    if (!credential.token) return askToken();
    me = await get("v1/me");
  } catch (fault) {
    return isAway(fault) ? away(linked) : askToken(fault);
  }
  offline.hidden = true;
  document.body.classList.add("signed-in");
  [model] = await Promise.all([modelName(), learnTools()]);
  layOutSide();
  watching ??= watchApprovals();
  await route();
}

/** The server says before any run whether it has a model. */
async function modelName() {
  try {
    const { dependencies } = await get("readiness");
    return dependencies.model.state === "offline" ? "offline" : dependencies.model.detail;
  } catch {
    return null;
  }
}

/** What people call the tools; a name without a title is shown as it is. */
async function learnTools() {
  try {
    for (const tool of (await get("v1/tools?limit=100")).items) titles.set(tool.name, tool.title);
  } catch { /* Names will do. */ }
}

/** Ends what the view at hand is doing, and gives the place for the next. */
function leave() {
  leaving.abort();
  leaving = new AbortController();
  chat?.leave();
  chat = null;
  close();
  document.body.classList.remove("side-open");
  return main;
}

async function route() {
  leave();
  const { signal } = leaving;
  const found = new URLSearchParams(location.hash.slice(1));
  const view = [...found.keys()][0] ?? "";
  mark(view);
  document.title = `${view === "approval" ? "Approval" : VIEWS.find(([name]) => name === viewOf(view))?.[1] ?? "Chat"} · Prisma Glow`;
  try {
    if (found.has("approval")) await showApproval(main, found.get("approval"));
    else if (view === "approvals") await showApprovals(main);
    else if (view === "tasks") await showTasks(main, signal);
    else if (view === "documents") await showDocuments(main, signal);
    else if (view === "activity") await showActivity(main);
    else openChat(found.get("conversation"));
  } catch (fault) {
    if (signal.aborted || fault.status === 401) return;
    const words = fault.status === 404 ? "There is no such thing, or it is not yours to see." : fault.message;
    fill(main, h("div", { class: "wide" }, h("h1", { tabIndex: -1 }, "Not to be shown"), h("p", { class: "error", role: "alert" }, words), button("Try again", route)));
  }
  if (!chat && !signal.aborted) main.querySelector("h1")?.focus();
}

function openChat(conversation) {
  chat = new ChatView(main, { conversation, model: () => model, changed: conversationChanged });
}

function conversationChanged(id) {
  mark("conversation", id);
  listConversations();
}

/** The view in the list at the side to which this one belongs. */
function viewOf(view) {
  return { conversation: "", approval: "approvals" }[view] ?? view;
}

function mark(view, conversation = new URLSearchParams(location.hash.slice(1)).get("conversation")) {
  for (const [name, node] of places.views) {
    if (name === viewOf(view)) node.setAttribute("aria-current", "page");
    else node.removeAttribute("aria-current");
  }
  for (const node of places.conversations?.querySelectorAll("a") ?? []) {
    if (node.dataset.id === conversation) node.setAttribute("aria-current", "true");
    else node.removeAttribute("aria-current");
  }
}

function layOutSide() {
  places.waiting = h("span", { class: "count", hidden: true });
  places.views = new Map(VIEWS.map(([name, label]) => [name, go(name, label, { class: "view" })]));
  places.views.get("approvals").append(places.waiting);
  places.conversations = h("ul", { class: "conversations" });
  fill(side,
    h("div", { class: "brand" }, h("span", { class: "mark", "aria-hidden": "true" }), "Prisma Glow"),
    button("New conversation", startAnew, { kind: "primary wide-button" }),
    h("nav", { "aria-label": "Views" }, [...places.views.values()]),
    h("h2", { class: "side-title" }, "Conversations"), places.conversations,
    identity());
  listConversations();
}

function startAnew() {
  if (location.hash && location.hash !== "#") location.hash = "";
  else route();
}

function identity() {
  return h("div", { class: "me" },
    h("strong", { title: me.principal }, me.display_name || me.principal),
    h("span", { class: "faint" }, `${roleName(me.role)} at ${me.organization}`),
    h("div", { class: "row" },
      h("span", { class: "faint", title: "How far the agent goes without asking, from L0 to L3" }, `Agent autonomy ${me.autonomy}`),
      button("Sign out", signOut, { kind: "quiet small" })));
}

async function listConversations() {
  try {
    const { items } = await get("v1/conversations?limit=50");
    const current = chat?.conversation;
    fill(places.conversations, items.length
      ? items.map((item) => h("li", {}, go(`conversation=${item.conversation_id}`, item.title || "Conversation", {
        "data-id": item.conversation_id, title: item.title, "aria-current": item.conversation_id === current ? "true" : null })))
      : h("li", { class: "faint" }, "None yet"));
    chat?.titled(items.find((item) => item.conversation_id === current)?.title);
  } catch { /* The list stays as it was. */ }
}

async function watchApprovals() {
  for (;;) {
    if (!document.hidden && credential.token) await countApprovals();
    await pause(APPROVALS_EVERY_MS);
  }
}

async function countApprovals() {
  try {
    const { items } = await get("v1/approvals?state=pending&limit=100");
    places.waiting.hidden = !items.length;
    fill(places.waiting, items.length > 99 ? "99+" : String(items.length), h("span", { class: "unseen" }, " waiting"));
  } catch { /* The count stays as it was. */ }
}

function signOut() {
  credential.forget();
  location.assign(location.pathname);
}

function askToken(fault) {
  me = null;
  leave();
  fill(side);
  signIn(main, () => start(null), fault);
}

/** The server is away: said once, and tried again until it is back. */
async function away(linked) {
  offline.hidden = false;
  await pause(3000);
  return start(linked);
}

signedOut.listener = (fault) => {
  if (me) askToken(fault);
};
window.addEventListener("hashchange", () => {
  const linked = linkedCredential();
  if (me && !linked) route();
  else start(linked);
});
window.addEventListener("approval-asked", countApprovals);
window.addEventListener("approval-decided", countApprovals);
window.addEventListener("offline", () => { offline.hidden = false; });
window.addEventListener("online", () => { offline.hidden = true; });
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // its fragment is no view
  main.focus();
});
document.getElementById("menu").addEventListener("click", () => document.body.classList.toggle("side-open"));
start();
