// One run on the page: a translator of the stream's events into nodes. It decides nothing; what it shows is what was sent.

import { get } from "./api.js";
import { badge, button, fill, go, h, stateBadge, table, time } from "./dom.js";
import { markdown } from "./markdown.js";
import { openCitation } from "./panel.js";
import { Passages } from "./passage.js";
import { result as resultOf } from "./results.js";
import { placeOf, reasonList, roleName, titles, toolName } from "./words.js";

/** The nodes of one run; `apply` takes its events, live or read back, and each only once. */
export class RunView {
  constructor({ retry, passages = new Passages() } = {}) {
    this.node = h("div", { class: "run" });
    this.passages = passages;
    this.sequence = 0;
    this.status = null;
    this.model = null;
    this.texts = new Map();
    this.calls = new Map();
    this.retry = retry;
    this.thinking = h("p", { class: "thinking" }, h("span", { class: "unseen" }, "Working"), h("i"), h("i"), h("i"));
  }

  apply(event) {
    if (event.sequence) {
      if (event.sequence <= this.sequence) return;
      this.sequence = event.sequence;
    }
    SHOWS[event.type]?.(this, event);
    this.thinks();
  }

  /** Dots while something is under way and no text is flowing. */
  thinks() {
    const waits = this.status === "running" && this.node.lastElementChild?.dataset.flowing === undefined;
    if (waits) this.node.append(this.thinking);
    else this.thinking.remove();
  }

  /** Nodes go above the dots. */
  add(node) {
    if (this.thinking.isConnected) this.thinking.before(node);
    else this.node.append(node);
    return node;
  }

  text(id) {
    if (!this.texts.has(id)) this.texts.set(id, new TextView(this.add(h("div", { class: "text" })), this.passages));
    return this.texts.get(id);
  }

  call(id, tool, values) {
    if (!this.calls.has(id)) {
      const call = new CallView(id, tool ?? "a tool", values);
      this.calls.set(id, call);
      this.add(call.node);
    }
    return this.calls.get(id);
  }

  end(status, ...shown) {
    this.status = status;
    for (const text of this.texts.values()) text.settle();
    for (const node of shown) this.add(node);
  }
}

const SHOWS = {
  "run.started": (run, event) => { run.status = "running"; run.model = event.model; },
  "message.started": (run, event) => run.text(event.message_id),
  "message.delta": (run, event) => run.text(event.message_id).grow(event.delta),
  "message.reset": (run, event) => run.text(event.message_id).reset(event.reason),
  "message.completed": (run, event) => run.text(event.message_id).complete(event.text, event.citations ?? []),
  "tool.called": (run, event) => run.call(event.call_id, event.tool, event.arguments),
  "tool.decided": (run, event) => run.call(event.call_id).decided(event.decision, event.reasons),
  "tool.progress": (run, event) => run.call(event.call_id).progressed(event.progress, event.message),
  "tool.completed": (run, event) => {
    run.passages.learn(event.result);
    run.call(event.call_id).completed(event.outcome, event.result, event.error);
  },
  "approval.requested": (run, event) => run.add(waiting(event)),
  "approval.decided": (run, event) => run.add(h("p", { class: "note" }, `${event.by} answered: ${event.decision}.`)),
  "run.waiting": (run) => run.end("waiting"),
  "run.completed": (run) => run.end("completed"),
  "run.cancelled": (run) => run.end("cancelled", h("p", { class: "note" }, "Stopped.")),
  "run.failed": (run, event) => run.end("failed", failure(event, run.retry)),
};

/** Text as it flows, laid out anew at most once a frame. */
class TextView {
  constructor(node, passages) {
    this.node = node;
    this.passages = passages;
    this.text = "";
    this.citations = [];
    this.due = 0;
  }

  grow(delta) {
    this.text += delta;
    this.node.dataset.flowing = "";
    this.due ||= requestAnimationFrame(() => this.layOut());
  }

  complete(text, citations) {
    this.text = text;
    this.citations = citations;
    this.settle();
  }

  reset(reason) {
    this.text = "";
    fill(this.node, h("p", { class: "note" }, `What stood here was withdrawn: ${reason}`));
    cancelAnimationFrame(this.due);
    this.due = 0;
  }

  settle() {
    delete this.node.dataset.flowing;
    if (this.text) this.layOut();
  }

  layOut() {
    cancelAnimationFrame(this.due);
    this.due = 0;
    fill(this.node, markdown(this.text, (number) => this.chip(number)), this.sources());
    this.node.hidden = !this.text;
  }

  chip(number) {
    const citation = this.citations.find((each) => each.marker === number);
    if (!citation) return null;
    const label = `Source ${number}: ${citation.title}`;
    const node = h("button", { type: "button", class: "chip", title: label, "aria-label": label }, String(number));
    node.addEventListener("click", () => this.open(citation, node));
    return node;
  }

  open(citation, from) {
    openCitation(citation, this.passages.around(citation), from);
  }

  sources() {
    if (!this.citations.length) return null;
    return h("ul", { class: "sources", "aria-label": "Sources" }, this.citations.map((citation) => {
      const place = placeOf(citation);
      const node = h("button", { type: "button", class: "source" },
        h("span", { class: "number" }, String(citation.marker)), h("span", { class: "name" }, citation.title),
        place && h("span", { class: "place" }, place));
      node.addEventListener("click", () => this.open(citation, node));
      return h("li", {}, node);
    }));
  }
}

/** A tool call: one line that says what became of it, and everything about it inside. */
export class CallView {
  constructor(id, tool, values) {
    this.id = id;
    this.known = false;
    this.verdict = h("span", { class: "badges" });
    this.outcome = h("span", { class: "badges" }, badge("running", "warn"));
    this.decision = h("div");
    this.result = h("div");
    this.progress = h("span", { class: "hint" }, hint(values));
    this.arguments = h("section", {}, h("h4", {}, "Arguments"), table(values, `Arguments of ${tool}`));
    this.node = h("details", { class: "call" },
      h("summary", {}, toolName(tool), this.progress, this.verdict, this.outcome),
      h("div", { class: "inside" }, this.arguments, this.decision, this.result,
        h("p", { class: "faint mono small" }, `call ${id}`)));
    this.node.addEventListener("toggle", () => this.node.open && this.look());
  }

  decided(decision, reasons) {
    this.known = true;
    fill(this.verdict, decision === "allow" ? null : stateBadge(decision));
    fill(this.decision, h("h4", {}, "Decision"),
      h("p", {}, stateBadge(decision)), reasonList(reasons));
  }

  progressed(progress, message) {
    this.progress.textContent = `${Math.round(progress * 100)} % ${message}`;
  }

  completed(outcome, result, error) {
    fill(this.outcome, stateBadge(outcome));
    if (result === undefined && error === undefined) return;
    fill(this.result, h("h4", {}, error ? "Why" : "Result"),
      error ? h("p", { class: "kept" }, `${error.message ?? ""} (${error.code ?? "error"})`) : resultOf(result));
  }

  /** The record's own words, where the stream's are not at hand. */
  async look() {
    if (this.known) return;
    try {
      const call = await get(`v1/activity/${this.id}`);
      fill(this.arguments, h("h4", {}, "Arguments"), table(call.arguments, `Arguments of ${call.tool}`));
      if (call.decision) this.decided(call.decision, call.reasons);
      this.known = true;
      this.completed(call.outcome, call.result, call.error_code ? { code: call.error_code, message: "" } : undefined);
    } catch (fault) {
      fill(this.decision, h("p", { class: "faint" }, fault.message));
    }
  }
}

function hint(values) {
  const first = Object.values(values ?? {}).find((value) => typeof value === "string" && value);
  return first ? (first.length > 90 ? `${first.slice(0, 89)}…` : first) : "";
}

/** The banner of a call that waits for a person; it says what has become of it since. */
export function waiting(event) {
  const lead = h("strong", {}, "This needs a person’s approval. ");
  const state = h("span");
  const node = h("div", { class: "banner", role: "status" },
    h("div", {},
      lead,
      h("span", { title: event.tool }, titles.get(event.tool) ?? event.tool), ` waits for ${roleName(event.needs_role)} or above`,
      event.four_eyes ? ", and not the one who asked" : "", ", until ", time(event.expires_at), ". ", state),
    go(`approval=${event.approval_id}`, "Review", { class: "button primary" }));
  const refresh = async () => {
    try {
      const item = await get(`v1/approvals/${event.approval_id}`);
      fill(state, item.state === "pending" ? null : ["It is now ", stateBadge(item.state)]);
      if (item.state !== "pending") {
        node.classList.add("settled");
        lead.textContent = "This needed a person’s approval. ";
      }
    } catch { /* The banner says what it knew. */ }
  };
  window.addEventListener("approval-decided", (told) => told.detail === event.approval_id && refresh());
  refresh();
  return node;
}

function failure(event, retry) {
  return h("div", { class: "banner bad", role: "alert" },
    h("div", {}, h("strong", {}, "This could not be answered. "), event.message),
    event.retryable && retry ? button("Try again", retry, { kind: "primary" }) : null);
}
