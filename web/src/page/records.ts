// The records behind the conversation: what was called, and which documents are known.

import { button, fill, h, stateBadge, table, time } from "../dom.ts";
import { isAbort, pause, Refused, wordsOf, type Hub } from "../hub.ts";
import { ProgressBar } from "../progress_bar.ts";
import { result } from "../results.ts";
import { TAKEN } from "../uploads.ts";
import type { RecordedCall } from "../wire.ts";
import { reasonList, roleName, toolName } from "../words.ts";
import { frame, type Page } from "./frame.ts";

const POLL_MS = 1500;
/** Who may have written a file; the first is what counts where nobody says it. */
const WRITERS = { external: "Somebody else", client: "A client", internal: "The firm" } as const;

interface ActivityItem extends RecordedCall {
  time: string;
  door: string;
  mode: string;
  principal: string;
  role: string | null;
  duration_ms: number | null;
}

interface Document {
  title: string;
  status: string;
  failure?: string | null;
  progress?: number;
  message?: string;
  audience?: string | null;
  trust?: string;
  created_at: string;
}

/** The head of a table; a column without a name holds what opens its rows. */
export function heads(names: readonly string[]): HTMLElement {
  return h("thead", {}, h("tr", {}, names.map((name) => h("th", { scope: "col" }, name || h("span", { class: "unseen" }, "Details")))));
}

/** Every call there is to see, newest first, each with its decision and what became of it. */
export async function showActivity(hub: Hub, main: HTMLElement): Promise<void> {
  const place = frame(main, "Activity", "Every call from every door, allowed or refused.");
  const body = h("tbody");
  let next: string | null = null;
  const more = button("Show older", () => load(), { kind: "quiet", hidden: true });
  async function load(): Promise<number> {
    const page: Page<ActivityItem> = await hub.get(`v1/activity?limit=50${next ? `&cursor=${encodeURIComponent(next)}` : ""}`);
    body.append(...page.items.flatMap((item) => activityRows(hub, item)));
    next = page.next_cursor;
    more.hidden = next === null;
    return page.items.length;
  }
  if (!(await load())) {
    fill(place, empty("Nothing has been called yet. Ask something, and it stands here."));
    return;
  }
  fill(place, h("div", { class: "scroll" }, h("table", { class: "ledger calls" },
    h("caption", { class: "unseen" }, "Calls, newest first"),
    heads(["Time", "Tool", "Who", "Door", "Decision", "Outcome", ""]), body)), more);
}

function activityRows(hub: Hub, item: ActivityItem): HTMLElement[] {
  const inside = h("td", { colspan: 7 });
  const details = h("tr", { class: "details", hidden: true }, inside);
  const toggle = button("Details", async () => {
    details.hidden = !details.hidden;
    toggle.setAttribute("aria-expanded", String(!details.hidden));
    if (!details.hidden) fill(inside, ...(await callDetails(hub, item.call_id)));
  }, { kind: "quiet small", "aria-expanded": "false" });
  const row = h("tr", {},
    h("td", { class: "moment" }, time(item.time, true)), h("td", { class: "titled" }, toolName(item.tool)),
    h("td", { class: "titled" }, item.principal, item.mode === "agent" && h("span", { class: "name" }, "through the agent")), h("td", {}, item.door),
    h("td", {}, stateBadge(item.decision)), h("td", {}, stateBadge(item.outcome)), h("td", {}, toggle));
  return [row, details];
}

/** What the record says of one call, or why it does not say it to whoever is signed in. */
export async function callDetails(hub: Hub, callId: string): Promise<HTMLElement[]> {
  try {
    const call = await hub.get<ActivityItem>(`v1/activity/${callId}`);
    const values = typeof call.arguments === "object" ? table(call.arguments, "Arguments") : h("p", { class: "kept" }, String(call.arguments ?? "–"));
    return [
      h("h4", {}, "Reasons"), reasonList(call.reasons), h("h4", {}, "Arguments"), values,
      ...(call.result === undefined ? [] : [h("h4", {}, "Result"), result(call.result)]),
      ...(call.error_code ? [h("p", {}, "Error ", h("code", {}, call.error_code))] : []),
      h("p", { class: "faint mono small" }, `call ${call.call_id} · ${roleName(call.role) || "no role"} · ${call.duration_ms ?? "–"} ms`),
    ];
  } catch (fault) {
    const words = fault instanceof Refused && fault.status === 404 ? "This call is not yours to see." : wordsOf(fault);
    return [h("p", { class: "error" }, words)];
  }
}

/** What the firm's agent can read, and a place to drop more. */
export async function showDocuments(hub: Hub, main: HTMLElement, signal: AbortSignal): Promise<void> {
  const place = frame(main, "Documents", "What answers are drawn from, and cite.");
  const list = h("div");
  const said = h("div", { role: "status" });
  fill(place, dropZone(hub, said, () => refresh(hub, list, signal)), said, list);
  await refresh(hub, list, signal);
}

async function refresh(hub: Hub, list: HTMLElement, signal: AbortSignal): Promise<void> {
  for (;;) {
    const { items } = await hub.get<Page<Document>>("v1/knowledge/documents?limit=100", { signal });
    fill(list, items.length ? documentTable(items) : empty("No documents yet. Drop files above."));
    if (!items.some((item) => ["queued", "parsing", "embedding"].includes(item.status))) return;
    await pause(POLL_MS, signal);
  }
}

function documentTable(items: Document[]): HTMLElement {
  return h("div", { class: "scroll" }, h("table", { class: "ledger" }, h("caption", { class: "unseen" }, "Documents"),
    heads(["Title", "State", "For", "Words of", "Added"]),
    h("tbody", {}, items.map((item) => h("tr", {},
      h("td", {}, item.title, item.failure && h("p", { class: "error" }, item.failure), item.progress !== undefined && progressOf(item)),
      h("td", {}, stateBadge(item.status)), h("td", {}, item.audience ?? ""), h("td", {}, writer(item.trust)), h("td", {}, time(item.created_at)))))));
}

function writer(trust: string | undefined): string {
  return Object.entries(WRITERS).find(([value]) => value === trust)?.[1] ?? "";
}

/** How far a document has come that is not ready yet. */
function progressOf({ title, progress, message }: Document): HTMLElement {
  const bar = new ProgressBar(`Progress of ${title}`);
  bar.show(progress ?? null, message ?? "");
  return h("div", {}, bar.node, h("p", { class: "faint small" }, message ?? ""));
}

function dropZone(hub: Hub, said: HTMLElement, done: () => Promise<void>): HTMLElement {
  const input = h("input", { type: "file", id: "files", multiple: true, class: "unseen", accept: TAKEN });
  const words = "Drop files here, or choose them. Text, Markdown, HTML, PDF, Word, Excel or CSV.";
  const zone = h("div", { class: "drop" }, h("label", { for: "files" }, h("strong", {}, "Add documents"), h("span", {}, words)), input);
  const whose = h("select", { id: "whose" }, Object.entries(WRITERS).map(([value, label]) => h("option", { value }, label)));
  const choice = h("p", { class: "whose" }, h("label", { for: "whose" }, "Whose words are these?"), whose,
    h("span", { class: "faint small" }, "After reading what others wrote, the agent asks before it acts. E-mail always counts as others' words."));
  const take = async (files: File[]): Promise<void> => {
    if (!files.length) return;
    fill(said, h("p", { class: "faint" }, `Uploading ${files.length === 1 ? files[0]?.name : `${files.length} files`}…`));
    try {
      // What nobody says anything of is somebody else's: a client has no choice to make.
      await hub.upload("v1/knowledge/documents", files, whose.value === "external" ? {} : { trust: whose.value });
      fill(said, h("p", { class: "faint" }, "Taken in; they can be searched as soon as they are ready."));
      await done();
    } catch (fault) {
      if (!isAbort(fault)) fill(said, h("p", { class: "error", role: "alert" }, wordsOf(fault)));
    }
  };
  input.addEventListener("change", () => {
    void take([...(input.files ?? [])]).then(() => {
      input.value = "";
    });
  });
  zone.addEventListener("dragover", (event) => {
    event.preventDefault();
    zone.classList.add("over");
  });
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    void take([...(event.dataTransfer?.files ?? [])]);
  });
  return h("div", {}, choice, zone);
}

function empty(words: string): HTMLElement {
  return h("p", { class: "empty" }, words);
}
