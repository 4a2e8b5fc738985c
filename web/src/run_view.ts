// One run: a translator of the stream's events into nodes. It decides nothing; what it shows is what was sent.

import { AnswerBar, type Answered } from "./answer_bar.ts";
import { ApprovalCard } from "./approval_card.ts";
import { CallView } from "./call_view.ts";
import type { Context } from "./context.ts";
import { button, h } from "./dom.ts";
import type { SaidView } from "./said_view.ts";
import { TextView } from "./text_view.ts";
import { passOver, type Asked, type RunEvent } from "./wire.ts";

const HANDOVER = "agent_handover";

type Completed = Extract<RunEvent, { type: "tool.completed" }>;
export type RunStatus = "running" | "waiting" | "completed" | "cancelled" | "failed";

/** The nodes of one run; `apply` takes its events, live or read back, and each only once. */
export class RunView {
  readonly node = h("div", { class: "run" });
  sequence = 0;
  status: RunStatus | null = null;
  /** Who speaks: the agent that the run began with, or that it was last handed over to. */
  speaker: string | null = null;
  /** The run whose events these are. */
  run: string | null = null;
  private bar: AnswerBar | null = null;
  private readonly texts = new Map<string, TextView>();
  private readonly calls = new Map<string, CallView>();
  /** What waits for a person stands last, below what is said of it. */
  private questions = h("div", { class: "questions" });
  /** By the calls that wait. */
  private readonly cards = new Map<string, ApprovalCard>();
  private lastAdded: Node | null = null;
  private readonly thinking = h("p", { class: "thinking" }, h("span", { class: "unseen" }, "Working"), h("i"), h("i"), h("i"));

  /** `said`: where the message stands that the run answers, as long as that is known. */
  constructor(
    private readonly context: Context,
    private readonly retry: (() => void) | null = null,
    readonly said: SaidView | null = null,
  ) {
    this.node.append(this.questions);
  }

  apply(event: RunEvent): void {
    if (event.sequence > 0) {
      if (event.sequence <= this.sequence) return;
      this.sequence = event.sequence;
    }
    this.run = event.run_id;
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
    if (status !== "running" && status !== "waiting") this.offer();
  }

  /** What can be done with the answer, now that it stands; `known` is what is kept of it beside its events. */
  offer(known: Partial<Answered> = {}): void {
    const { run, said } = this;
    if (!run || !said) return;
    said.run = run;
    const text = [...this.texts.values()].map((each) => each.words).filter(Boolean).join("\n\n");
    this.bar?.node.remove();
    this.bar = new AnswerBar(this.context, { text, ...known, run }, () => this.context.again(this, run));
    this.node.append(this.bar.node);
  }

  /** A call that waits for a person. */
  asked(asked: Asked): void {
    this.call(asked.call_id, asked.tool, asked.arguments).completed("waiting");
    this.awaits(asked.approval_id, asked);
  }

  awaits(id: string, asked?: Asked): void {
    const { hub, grow } = this.context;
    const card = new ApprovalCard({ hub, leadsBack: false, grow, decided: (each, state) => this.context.approval(each, state) });
    this.questions.append(card.node);
    if (asked) this.cards.set(asked.call_id, card);
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
        this.speaker = event.agent;
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
        return this.completed(this.call(event.call_id, "a tool", {}), event);
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
      default:
        return passOver(event);
    }
  }

  private completed(call: CallView, { call_id, outcome, result, error }: Completed): void {
    call.completed(outcome, result, error);
    if (outcome !== "waiting") this.answered(call_id);
    if (call.tool === HANDOVER && outcome === "done") this.speaker = agentOf(result) ?? this.speaker;
  }

  /** A card says what became of its call, whoever answered; once none waits, what comes next stands below them all. */
  private answered(call: string): void {
    const card = this.cards.get(call);
    if (!card) return;
    this.cards.delete(call);
    void card.refresh();
    if (this.cards.size > 0) return;
    this.questions = h("div", { class: "questions" });
    this.node.append(this.questions);
  }

  private failure(message: string, retryable: boolean): HTMLElement {
    const { retry } = this;
    return h("div", { class: "banner bad", role: "alert" },
      h("div", {}, h("strong", {}, "This could not be answered. "), message),
      retryable && retry ? button("Try again", retry, { kind: "primary" }) : null);
  }
}

function agentOf(result: unknown): string | null {
  const agent = (result as { agent?: unknown } | null | undefined)?.agent;
  return typeof agent === "string" ? agent : null;
}
