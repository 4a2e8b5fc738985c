// Approvals: the list of calls that wait, and one of them laid out so that a person knows what they agree to.

import { get, post } from "./api.js";
import { button, fill, go, h, stateBadge, table, time } from "./dom.js";
import { result } from "./results.js";
import { reasonList, roleName, titles } from "./words.js";

/** Those that wait first, then the decided ones. */
export async function showApprovals(main) {
  const list = frame(main, "Approvals", "Calls that wait for a person. Each is bound to exactly what is shown; it is made once, or not at all.");
  const { items } = await get("v1/approvals?limit=100");
  const pending = items.filter((item) => item.state === "pending");
  const decided = items.filter((item) => item.state !== "pending");
  fill(list,
    section("Waiting", pending, "Nothing waits for a decision."),
    decided.length ? section("Decided", decided, "") : null);
}

function section(title, items, none) {
  return h("section", {}, h("h2", {}, title), items.length ? h("ul", { class: "cards" }, items.map(card)) : h("p", { class: "empty" }, none));
}

function card(item) {
  return h("li", { class: "card" },
    h("div", { class: "card-head" }, h("span", {}, go(`approval=${item.id}`, titles.get(item.tool) ?? item.tool, { class: "card-title" }), " ", h("span", { class: "name mono" }, item.tool)), stateBadge(item.state)),
    h("p", { class: "kept clamp" }, summary(item.arguments)),
    h("p", { class: "faint" }, "asked by ", item.requested_by, " · ", time(item.created_at)));
}

function summary(values) {
  return Object.entries(values ?? {}).map(([name, value]) => `${name}: ${typeof value === "object" ? JSON.stringify(value) : value}`).join(" · ");
}

/** One approval, whole, and the two answers to it. */
export async function showApproval(main, id) {
  const place = frame(main, "Approval", null);
  layOut(place, await get(`v1/approvals/${encodeURIComponent(id)}`), null);
}

function layOut(place, item, call) {
  const waits = item.state === "pending";
  fill(place, h("article", { class: "sheet", "aria-labelledby": "approval-tool" },
    h("header", { class: "sheet-head" }, h("div", {}, h("h2", { id: "approval-tool" }, titles.get(item.tool) ?? item.tool), h("p", { class: "faint mono" }, item.tool)),
      stateBadge(item.state)),
    h("h3", {}, waits ? "Exactly this will be done" : "What was asked for"), table(item.arguments, "Arguments"),
    h("h3", {}, waits ? "Why it waits" : "Why it had to be asked"),
    reasonList(item.reasons),
    h("dl", { class: "facts" },
      fact("Asked by", item.requested_by), fact("Asked at", time(item.created_at)),
      fact("Who may decide", `${roleName(item.needs_role)} or above${item.four_eyes ? ", and not the one who asked" : ""}`),
      fact("Expires", time(item.expires_at)),
      item.conversation_id && fact("Conversation", go(`conversation=${item.conversation_id}`, "open it")),
      item.decided_by && fact("Decided by", item.decided_by), item.decided_at && fact("Decided at", time(item.decided_at)),
      item.comment && fact("Comment", h("span", { class: "kept" }, item.comment))),
    waits ? answerForm(place, item) : null,
    call ? resultOf(call) : null));
}

function fact(name, value) {
  return [h("dt", {}, name), h("dd", {}, value)];
}

function answerForm(place, item) {
  const comment = h("textarea", { id: "comment", rows: 2, maxlength: 2000 });
  const said = h("p", { role: "alert", class: "error" });
  const buttons = [
    button("Approve", () => answer("approve"), { kind: "primary" }),
    button("Reject", () => answer("reject"), { kind: "danger" }),
  ];
  async function answer(decision) {
    for (const each of buttons) each.disabled = true;
    fill(said);
    try {
      const words = comment.value.trim();
      const decided = await post(`v1/approvals/${item.id}/decision`, { decision, ...(words ? { comment: words } : {}) });
      const { call, ...now } = decided;
      layOut(place, { ...item, ...now }, call);
      place.querySelector(".sheet h2").setAttribute("tabindex", "-1");
      place.querySelector(".sheet h2").focus();
      window.dispatchEvent(new CustomEvent("approval-decided", { detail: item.id }));
    } catch (fault) {
      fill(said, fault.message);
      for (const each of buttons) each.disabled = false;
      if (fault.status === 409) layOut(place, await get(`v1/approvals/${item.id}`), null);
    }
  }
  return h("form", { class: "decide", on: { submit: (event) => event.preventDefault() } },
    h("label", { for: "comment" }, "Comment (kept in the record)"), comment, said, h("div", { class: "buttons" }, buttons));
}

function resultOf(call) {
  return h("section", { class: "result", role: "status" },
    h("h3", {}, "What came of it"), h("p", {}, stateBadge(call.outcome)),
    call.result && result(call.result),
    call.error && h("p", { class: "kept" }, call.error.message),
    h("p", { class: "faint mono small" }, `call ${call.call_id}`));
}

/** The heading of a page of records, and the place below it. */
export function frame(main, title, words) {
  const place = h("div", { class: "records" }, h("p", { class: "faint", role: "status" }, "Loading…"));
  fill(main, h("header", { class: "bar" }, h("h1", { tabIndex: -1 }, title)),
    h("div", { class: "scroller", tabIndex: 0, role: "region", "aria-label": title }, h("div", { class: "wide" }, words && h("p", { class: "lead" }, words), place)));
  return place;
}
