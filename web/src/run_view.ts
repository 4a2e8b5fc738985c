// One run: a translator of the stream's events into nodes. It decides nothing; what it shows is what was sent.

import { ApprovalCard } from "./approval_card.ts";
import { CallView } from "./call_view.ts";
import type { Context } from "./context.ts";
import { button, h } from "./dom.ts";
import { TextView } from "./text_view.ts";
import type { Asked, RunEvent } from "./wire.ts";

export type RunStatus = "running" | "waiting" | "completed" | "cancelled" | "failed";

/** The nodes of one run; `apply` takes its events, live or read back, and each only once. */
export class RunView {
  readonly node = h("div", { class: "run" });
  sequence = 0;
  status: RunStatus | null = null;
  private readonly texts = new Map<string, TextView>();
  private readonly calls = new Map<string, CallView>();
  /** What waits for a person stands last, below what is said of it. */
  private readonly questions = h("div", { class: "questions" });
  private lastAdded: Node | null = null;
  private readonly thinking = h("p", { class: "thinking" }, h("span", { class: "unseen" }, "Working"), h("i"), h("i"), h("i"));

  constructor(private readonly context: Context, private readonly retry: (() => void) | null = null) {
    this.node.append(this.questions);
  }

  apply(event: RunEvent): void {
    if (event.sequence > 0) {
      if (event.sequence <= this.sequence) return;
      this.sequence = event.sequence;
    }
    if (this.status === "waiting") this.status = "running";
    this.show(event);
    this.thinks();
  }

  begin(): void {
    this.status = "running";
    this.thinks();
  }

  /** Dots while something is under way and no text is flowing. */
  thinks(): void {
    const last = [...this.texts.values()].at(-1);
    if (this.status === "running" && !(last?.isFlowing && last.node === this.lastAdded)) this.node.insertBefore(this.thinking, this.questions);
    else this.thinking.remove();
  }

  /** Nodes go above the dots, and above what waits for a person. */
  add<T extends Node>(node: T): T {
    this.node.insertBefore(node, this.thinking.parentNode === this.node ? this.thinking : this.questions);
    this.lastAdded = node;
    return node;
  }

  call(id: string, tool: string, values: unknown): CallView {
    const known = this.calls.get(id);
    if (known) return known;
    const call = new CallView(id, tool, values, this.context.archive);
    this.calls.set(id, call);
    this.add(call.node);
    return call;
  }

  end(status: RunStatus, ...shown: Node[]): void {
    this.status = status;
    for (const text of this.texts.values()) text.settle();
    if (status !== "waiting") for (const call of this.calls.values()) call.settle();
    for (const node of shown) this.add(node);
  }

  /** A call that waits for a person. */
  asked(asked: Asked): void {
    this.awaits(asked.approval_id, asked);
  }

  awaits(id: string, asked?: Asked): void {
    const { hub, grow } = this.context;
    const card = new ApprovalCard({ hub, leadsBack: false, grow, decided: (each, state) => this.context.approval(each, state) });
    this.questions.append(card.node);
    card.load(id, asked).catch(() => card.node.remove());
  }

  private text(id: string): TextView {
    const known = this.texts.get(id);
    if (known) return known;
    const text = new TextView(this.context);
    this.texts.set(id, text);
    this.add(text.node);
    return text;
  }

  private show(event: RunEvent): void {
    switch (event.type) {
      case "run.started":
        this.status = "running";
        return;
      case "message.started":
        this.text(event.message_id);
        return;
      case "message.delta":
        return this.text(event.message_id).grow(event.delta);
      case "message.reset":
        return this.text(event.message_id).reset(event.reason);
      case "message.completed":
        return this.text(event.message_id).complete(event.text, event.citations ?? []);
      case "tool.called":
        this.call(event.call_id, event.tool, event.arguments);
        return;
      case "tool.decided":
        return this.call(event.call_id, "a tool", {}).decided(event.decision, event.reasons);
      case "tool.progress":
        return this.call(event.call_id, "a tool", {}).progressed(event.progress, event.message);
      case "tool.completed":
        this.context.passages.learn(event.result);
        return this.call(event.call_id, "a tool", {}).completed(event.outcome, event.result, event.error);
      case "approval.requested":
        return this.asked(event);
      case "approval.decided":
        this.add(h("p", { class: "note" }, `${event.by} answered: ${event.decision}.`));
        return;
      case "run.usage":
        return;
      case "run.waiting":
        return this.end("waiting");
      case "run.completed":
        return this.end("completed");
      case "run.cancelled":
        return this.end("cancelled", h("p", { class: "note" }, "Stopped."));
      case "run.failed":
        return this.end("failed", this.failure(event.message, event.retryable));
    }
  }

  private failure(message: string, retryable: boolean): HTMLElement {
    const { retry } = this;
    return h("div", { class: "banner bad", role: "alert" },
      h("div", {}, h("strong", {}, "This could not be answered. "), message),
      retryable && retry ? button("Try again", retry, { kind: "primary" }) : null);
  }
}
