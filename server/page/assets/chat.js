// The conversation: what was said, what is being said, and the field to say more. A run is not a connection: whatever
// breaks or is reloaded, the page takes its run up again where it left it.

import { chat, follow, get, isTerminal, post } from "./api.js";
import { button, fill, h } from "./dom.js";
import { Passages } from "./passage.js";
import { RunView, waiting } from "./run.js";

const EXAMPLES = [
  ["Ask the documents", "When must the engagement letter be renewed, and who signs it?"],
  ["Have something done", "Create a task to refresh the analytics"],
  ["Know the limits", "What may you do on your own?"],
];

/** Shows a conversation, or a new one; `changed(id)` is called when it came to be or went on. */
export class ChatView {
  constructor(main, { conversation, changed, model }) {
    this.conversation = conversation;
    this.changed = changed;
    this.model = model;
    this.stopper = new AbortController();
    this.run = null;
    this.passages = new Passages();
    this.log = h("div", { class: "log", role: "log", "aria-label": "Conversation", "aria-live": "off" });
    this.title = h("h1", { tabIndex: -1 }, "New conversation");
    this.live = h("p", { class: "unseen", role: "status" });
    this.compose();
    this.scroller = h("div", { class: "scroller", tabIndex: 0, role: "region", "aria-label": "Conversation" }, this.log);
    fill(main, h("header", { class: "bar" }, this.title, this.badge = h("span", { class: "model" })), this.scroller, this.form, this.live);
    this.named(model());
    if (conversation) this.load();
    else this.empty();
  }

  leave() {
    this.stopper.abort();
  }

  titled(title) {
    if (!title) return;
    this.title.textContent = title;
    document.title = `${title} · Prisma Glow`;
  }

  /** The model's name; the offline one is named as such. */
  named(model) {
    if (!model) return;
    const offline = model.startsWith("offline");
    fill(this.badge, offline ? "Offline model" : model);
    this.badge.title = offline
      ? "No model is configured: a small built-in one understands plain sentences and calls the same tools."
      : "The model that answers";
  }

  compose() {
    this.field = h("textarea", {
      id: "message", rows: 1, placeholder: "Ask, or say what should be done", maxlength: 100000,
      on: {
        input: () => this.fit(),
        keydown: (event) => {
          if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
            event.preventDefault();
            this.form.requestSubmit();
          }
        },
      },
    });
    this.send = h("button", { type: "submit", class: "button primary" }, "Send");
    this.stop = button("Stop", () => this.cancel(), { hidden: true, class: "button danger" });
    this.form = h("form", { class: "composer", on: { submit: (event) => { event.preventDefault(); this.ask(this.field.value.trim()); } } },
      h("label", { for: "message", class: "unseen" }, "Your message"), this.field, this.send, this.stop);
  }

  /** The field grows with its text, by rows, since styles in attributes are not let in. */
  fit() {
    const lines = this.field.value.split("\n").reduce((sum, line) => sum + Math.max(1, Math.ceil(line.length / 90)), 0);
    this.field.rows = Math.min(Math.max(lines, 1), 8);
  }

  empty() {
    fill(this.log, h("div", { class: "welcome" },
      h("h2", {}, "What would you like to know, or have done?"),
      h("p", {}, "Answers cite the firm’s own documents. Everything that acts is decided by policy and stands in the activity log."),
      h("ul", { class: "examples" }, EXAMPLES.map(([title, question]) => h("li", {},
        h("button", { type: "button", class: "example", on: { click: () => this.ask(question) } },
          h("span", { class: "example-title" }, title), h("span", {}, question)))))));
    this.field.focus();
  }

  async load() {
    try {
      this.titled((await get(`v1/conversations/${this.conversation}`)).title || "Conversation");
      await this.showHistory(await this.messages());
    } catch (fault) {
      if (fault.name !== "AbortError") fill(this.log, notice(fault.status === 404 ? "There is no such conversation." : fault.message));
    }
  }

  async messages() {
    const found = [];
    for (let cursor = ""; cursor !== null;) {
      const page = await get(`v1/conversations/${this.conversation}/messages?limit=100${cursor && `&cursor=${encodeURIComponent(cursor)}`}`);
      found.push(...page.items);
      cursor = page.next_cursor;
    }
    return found;
  }

  async showHistory(messages) {
    const last = messages.at(-1)?.run_id;
    const running = last && (await get(`v1/runs/${last}`)).status === "running";
    fill(this.log);
    for (const message of messages) {
      if (message.role === "user") this.said(message.text);
      else if (!(running && message.run_id === last)) this.answered(message);
    }
    this.toEnd();
    if (running) await this.carry(this.begin(null), follow(last, 0, this.stopper.signal), last);
  }

  said(text) {
    this.log.append(h("div", { class: "said" }, h("span", { class: "unseen" }, "You: "), h("p", {}, text)));
  }

  /** A message of the past, told to a view as the events it once was. */
  answered(message) {
    const view = new RunView({ passages: this.passages });
    this.log.append(view.node);
    if (message.text) view.apply({ type: "message.completed", message_id: message.message_id, text: message.text, citations: message.citations });
    for (const call of message.tool_calls ?? []) {
      view.call(call.call_id, call.tool, call.arguments);
      view.apply({ type: "tool.completed", call_id: call.call_id, outcome: call.outcome, ...within(call.result) });
      if (call.outcome === "waiting") this.stillWaiting(view, call);
    }
  }

  async stillWaiting(view, call) {
    try {
      const { approval_id: id } = await get(`v1/activity/${call.call_id}`);
      if (id) view.add(waiting({ approval_id: id, ...(await get(`v1/approvals/${id}`)) }));
    } catch { /* The call itself says that it waits. */ }
  }

  begin(retry) {
    const view = new RunView({ retry, passages: this.passages });
    view.status = "running";
    this.log.append(view.node);
    view.thinks();
    return view;
  }

  ask(message) {
    if (!message || this.run) return;
    if (this.log.querySelector(".welcome")) fill(this.log);
    this.field.value = "";
    this.fit();
    this.said(message);
    this.attempt(message, requestId());
  }

  /** `id` makes a second attempt at the same message the same message. */
  attempt(message, id) {
    const view = this.begin(() => this.attempt(message, requestId()));
    this.toEnd();
    const body = { message, client_message_id: id, ...(this.conversation ? { conversation_id: this.conversation } : {}) };
    return this.carry(view, chat(body, this.stopper.signal), null, () => {
      view.node.remove();
      this.attempt(message, id);
    });
  }

  /** Shows a run from these events, and from its own stream when they break off before its end. */
  async carry(view, events, run, again) {
    this.busy(view, run);
    try {
      await this.drain(view, events);
    } catch (fault) {
      if (fault.name === "AbortError") return;
      if (!this.run.id) this.refused(view, fault, again);
      else await this.resume(view);
    } finally {
      this.idle();
    }
  }

  async drain(view, events) {
    for await (const event of events) {
      this.run.id ??= event.run_id;
      view.apply(event);
      this.stop.hidden = false;
      if (event.type === "run.started") this.started(event);
      if (event.type === "message.completed" && event.text) this.live.textContent = event.text;
      if (event.type === "approval.requested") window.dispatchEvent(new Event("approval-asked"));
      if (this.nearEnd()) this.toEnd();
      if (isTerminal(event) || event.type === "run.waiting") return;
    }
    if (this.run.id) await this.drain(view, follow(this.run.id, view.sequence, this.stopper.signal));
  }

  async resume(view) {
    try {
      await this.drain(view, follow(this.run.id, view.sequence, this.stopper.signal));
    } catch (fault) {
      if (fault.name !== "AbortError") view.add(notice(fault.message));
    }
  }

  started(event) {
    this.named(event.model);
    if (this.conversation !== event.conversation_id) {
      this.conversation = event.conversation_id;
      history.replaceState(null, "", `#conversation=${event.conversation_id}`);
    }
  }

  refused(view, fault, again) {
    view.status = "failed";
    view.thinks();
    if (fault.code === "conversation_busy") {
      const open = () => this.load();
      view.add(notice("This conversation is still answering an earlier message.", button("Show it", open, { kind: "primary" })));
    } else if (fault.status !== 401) {
      view.add(notice(fault.message, again && button("Try again", again, { kind: "primary" })));
    }
  }

  async cancel() {
    this.stop.disabled = true;
    try {
      await post(`v1/runs/${this.run.id}/cancel`);
    } catch (fault) {
      this.log.append(notice(fault.message));
      this.stop.disabled = false;
    }
  }

  busy(view, id) {
    this.run = { view, id };
    this.send.hidden = true;
    this.stop.hidden = !id;
    this.stop.disabled = false;
    this.live.textContent = "Working";
  }

  idle() {
    if (this.run?.view.status === "running") this.run.view.end("ended");
    this.run?.view.thinks();
    this.run = null;
    this.send.hidden = false;
    this.stop.hidden = true;
    if (!this.stopper.signal.aborted) this.changed(this.conversation);
  }

  nearEnd() {
    return this.scroller.scrollHeight - this.scroller.scrollTop - this.scroller.clientHeight < 160;
  }

  toEnd() {
    this.scroller.scrollTop = this.scroller.scrollHeight;
  }
}

/** A past call is kept as the model was told of it: what it gave is one thing among others there, and long ones are cut. */
function within(told) {
  return typeof told === "object" ? { result: told?.result, error: told?.error } : {};
}

function notice(text, action) {
  return h("div", { class: "banner", role: "alert" }, h("div", {}, text), action);
}

/** Random enough to be one message's own; crypto.randomUUID is not there on plain http. */
function requestId() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
