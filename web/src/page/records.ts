// The record behind the conversation: what was called, and what became of it.

import { button, fill, h, stateBadge, table, time } from "../dom.ts";
import { Refused, wordsOf, type Hub } from "../hub.ts";
import { result } from "../results.ts";
import type { RecordedCall } from "../wire.ts";
import { reasonList, roleName, toolName } from "../words.ts";
import { frame, type Page } from "./frame.ts";

interface ActivityItem extends RecordedCall {
  time: string;
  door: string;
  mode: string;
  principal: string;
  role: string | null;
  duration_ms: number | null;
}

/** The head of a table; a column without a name holds what opens its rows. */
export function heads(names: readonly (string | HTMLElement)[]): HTMLElement {
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

function empty(words: string): HTMLElement {
  return h("p", { class: "empty" }, words);
}
