// Approvals on the page: the list of calls that wait, and one of them by itself.

import { ApprovalCard } from "../approval_card.ts";
import { fill, go, h, stateBadge, time } from "../dom.ts";
import type { Hub } from "../hub.ts";
import type { Approval, Json } from "../wire.ts";
import { titleOf } from "../words.ts";
import { frame, type Page } from "./frame.ts";

/** Those that wait first, then the decided ones. */
export async function showApprovals(hub: Hub, main: HTMLElement): Promise<void> {
  const list = frame(main, "Approvals", "Calls that wait for a person. Each is bound to exactly what is shown; it is made once, or not at all.");
  const { items } = await hub.get<Page<Approval>>("v1/approvals?limit=100");
  const pending = items.filter((item) => item.state === "pending");
  const decided = items.filter((item) => item.state !== "pending");
  fill(list,
    h("p", { class: "said-of-it" }, go("away", "Who decides while you are away"), " · ", go("open", "Calls left open")),
    section("Waiting", pending, "Nothing waits for a decision."),
    decided.length ? section("Decided", decided, "") : null);
}

function section(title: string, items: Approval[], none: string): HTMLElement {
  return h("section", {}, h("h2", {}, title), items.length ? h("ul", { class: "cards" }, items.map(card)) : h("p", { class: "empty" }, none));
}

function card(item: Approval): HTMLElement {
  return h("li", { class: "card" },
    h("div", { class: "card-head" }, h("span", {}, go(`approval=${item.id}`, titleOf(item.tool), { class: "card-title" }), " ", h("span", { class: "name mono" }, item.tool)), stateBadge(item.state)),
    h("p", { class: "kept clamp" }, summary(item.arguments)),
    h("p", { class: "faint" }, "asked by ", item.requested_by, " · ", time(item.created_at), item.state === "pending" && [" · until ", time(item.expires_at), item.reminded_at ? " · reminded" : null]));
}

function summary(values: Json): string {
  return Object.entries(values).map(([name, value]) => `${name}: ${typeof value === "object" ? JSON.stringify(value) : String(value)}`).join(" · ");
}

/** One approval, whole, and the two answers to it. */
export async function showApproval(hub: Hub, main: HTMLElement, id: string, decided: () => void): Promise<void> {
  const place = frame(main, "Approval", null);
  const card = new ApprovalCard({ hub, leadsBack: true, decided });
  await card.load(id);
  fill(place, card.node);
}
