// The conversation: what was said, what is being said, and the field to say more. A run is not a connection: whatever
// breaks or is reloaded, its run is taken up again where it was left.

import { CitationPanel } from "./citation_panel.ts";
import { Composer } from "./composer.ts";
import type { Archive, Context } from "./context.ts";
import { button, fill, h } from "./dom.ts";
import { isAbort, newId, pause, Refused, wordsOf, type Hub, type NewMessage } from "./hub.ts";
import { Passages } from "./passages.ts";
import { RunView } from "./run_view.ts";
import type { Thread, Turn } from "./thread.ts";
import { isTerminal, type RunEvent, type Said } from "./wire.ts";

const EXAMPLES: readonly (readonly [string, string])[] = [
  ["Ask the documents", "When must the engagement letter be renewed, and who signs it?"],
  ["Have something done", "Create a task to refresh the analytics"],
  ["Know the limits", "What may you do on your own?"],
];
const MOST_ATTEMPTS = 5;
const AT_ONCE = 4;

export interface ConversationOptions {
  hub: Hub;
  home: URL;
  archive: Archive | null;
  /** What this tab remembers; null where the archive does. */
  thread: Thread | null;
  conversation: string | null;
  agent: string | null;
  engagement: string | null;
  heading: string;
  /** The name of the model, where it is known before any run. */
  model: string | null;
  /** Tells the page around: "conversation" and "approval". */
  tell: (what: "conversation" | "approval", detail: Record<string, unknown>) => void;
}

interface Current {
  view: RunView;
  id: string | null;
  turn: Turn | null;
}

export class Conversation {
  readonly node: HTMLElement;
  private readonly stopper = new AbortController();
  private readonly log = h("div", { class: "log", role: "log", "aria-label": "Conversation", "aria-live": "off" });
  private readonly title: HTMLElement;
  private readonly model = h("span", { class: "model" });
  private readonly live = h("p", { class: "unseen", role: "status" });
  private readonly lost = h("p", { class: "lost", role: "alert", hidden: true }, "The connection was lost. Trying again…");
  private readonly scroller: HTMLElement;
  private readonly composer: Composer;
  private readonly panel: CitationPanel;
  private readonly context: Context;
  private id: string | null;
  private current: Current | null = null;
  /** A run that waits for a person's answer. */
  private paused: Current | null = null;

  constructor(private readonly options: ConversationOptions) {
    const { hub, home, archive } = options;
    this.id = options.conversation ?? options.thread?.kept.conversation ?? null;
    this.title = h("h1", { tabIndex: -1 }, options.heading);
    this.panel = new CitationPanel(archive, home);
    this.context = {
      hub, home, archive, passages: new Passages(),
      open: (citation, around, from) => this.panel.open(citation, around, from),
      grow: (change) => this.grow(change),
      approval: (id, state) => this.approval(id, state),
    };
    this.composer = new Composer({ ask: (message) => this.ask(message), stop: () => this.stop(), upload: (files) => this.upload(files) });
    this.scroller = h("div", { class: "scroller", tabIndex: 0, role: "region", "aria-label": "Conversation" }, this.log);
    const anew = options.thread ? button("New", () => this.anew(), { kind: "quiet small", title: "Begin a new conversation" }) : null;
    this.node = h("div", { class: "chat", on: { keydown: (event: KeyboardEvent) => event.key === "Escape" && this.panel.close() } },
      h("div", { class: "column" }, h("header", { class: "bar" }, this.title, h("span", { class: "tools" }, this.model, anew)),
        this.lost, this.scroller, this.composer.node, this.live),
      this.panel.node);
    this.named(options.model);
  }

  get conversation(): string | null {
    return this.id;
  }

  /** Shows what there is to show, and takes up the run that goes on. */
  async open(): Promise<void> {
    const { archive, thread } = this.options;
    try {
      if (archive && this.id) await this.load(archive, this.id);
      else if (thread?.kept.turns.length) await this.restore(thread.kept.turns);
      else this.empty();
    } catch (fault) {
      if (isAbort(fault)) return;
      const isGone = fault instanceof Refused && fault.status === 404;
      fill(this.log, this.notice(isGone ? "There is no such conversation." : wordsOf(fault), isGone ? null : button("Try again", () => this.open())));
    }
  }

  leave(): void {
    this.stopper.abort();
  }

  focus(): void {
    this.composer.focus();
  }

  titled(title: string): void {
    if (title) this.title.textContent = title;
  }

  // What was said before ----------------------------------------------------------------------------------------------

  private empty(): void {
    fill(this.log, h("div", { class: "welcome" },
      h("h2", {}, "What would you like to know, or have done?"),
      h("p", {}, "Answers cite the firm’s own documents. Everything that acts is decided by policy and stands in the activity log."),
      h("ul", { class: "examples" }, EXAMPLES.map(([title, question]) => h("li", {},
        h("button", { type: "button", class: "example", on: { click: () => this.ask(question) } },
          h("span", { class: "example-title" }, title), h("span", {}, question)))))));
  }

  private loading(): void {
    fill(this.log, h("div", { class: "loading", role: "status" }, h("span", { class: "unseen" }, "Loading the conversation"), h("i"), h("i"), h("i")));
  }

  private async load(archive: Archive, id: string): Promise<void> {
    this.loading();
    const [title, messages] = await Promise.all([archive.title(id), archive.messages(id)]);
    this.titled(title || "Conversation");
    const last = messages.at(-1)?.run_id;
    const goesOn = last !== undefined && (await this.options.hub.get<{ status: string }>(`v1/runs/${last}`)).status === "running";
    fill(this.log);
    for (const message of messages) {
      if (message.role === "user") this.said(message.text);
      else if (!(goesOn && message.run_id === last)) this.answered(message);
    }
    this.toEnd();
    if (goesOn) await this.carry(this.begin(null), last, null, () => this.follow(last, 0));
  }

  /** A message of the past, told to a view as the events it once was. */
  private answered(message: Said): void {
    const view = new RunView(this.context);
    const past = { run_id: message.run_id, sequence: 0 };
    this.log.append(view.node);
    for (const call of message.tool_calls) {
      view.call(call.call_id, call.tool, call.arguments);
      view.apply({ ...past, type: "tool.completed", call_id: call.call_id, outcome: call.outcome, ...within(call.result) });
      if (call.outcome === "waiting") void this.stillWaiting(view, call.call_id);
    }
    if (message.text) {
      view.apply({ ...past, type: "message.completed", message_id: message.message_id, text: message.text, citations: message.citations });
    }
  }

  private async stillWaiting(view: RunView, call: string): Promise<void> {
    const recorded = await this.options.archive?.call(call).catch(() => null);
    if (recorded?.approval_id) view.awaits(recorded.approval_id);
  }

  /** The turns that this tab remembers, each shown by its run's own events, as they were sent; the last may go on. */
  private async restore(turns: readonly Turn[]): Promise<void> {
    this.loading();
    const past = turns.filter((turn) => turn.ended);
    const views = new Map(past.map((turn) => [turn, new RunView(this.context)]));
    for (let at = 0; at < past.length; at += AT_ONCE) {
      await Promise.all(past.slice(at, at + AT_ONCE).map((turn) => this.replay(turn, views.get(turn))));
    }
    fill(this.log);
    for (const turn of past) {
      this.said(turn.message);
      this.log.append(views.get(turn)?.node ?? "");
    }
    this.toEnd();
    const going = turns.find((turn) => !turn.ended);
    if (!going) return;
    this.said(going.message);
    const { run } = going;
    if (run === null) return this.attempt(going);
    await this.carry(this.begin(() => this.again(going)), run, going, () => this.follow(run, 0));
  }

  private async replay(turn: Turn, view?: RunView): Promise<void> {
    if (!view || turn.run === null) return;
    try {
      for await (const event of this.follow(turn.run, 0)) view.apply(event);
    } catch (fault) {
      if (isAbort(fault) || (fault instanceof Refused && fault.status === 401)) throw fault;
      view.add(h("p", { class: "note" }, "This answer is no longer kept."));
    }
  }

  private anew(): void {
    this.options.thread?.forget();
    this.stopper.abort();
    this.options.tell("conversation", { conversation: null });
  }

  // Asking ------------------------------------------------------------------------------------------------------------

  private ask(message: string): void {
    if (this.current) return;
    if (this.log.querySelector(".welcome")) fill(this.log);
    const turn = this.options.thread?.begin(message, newId()) ?? { message, id: newId(), run: null, seen: 0, ended: false };
    this.said(message);
    void this.attempt(turn);
  }

  private again(turn: Turn): void {
    const { thread } = this.options;
    void this.attempt(thread ? thread.begin(turn.message, newId()) : { ...turn, id: newId(), run: null, seen: 0, ended: false });
  }

  private said(text: string): void {
    this.log.append(h("div", { class: "said" }, h("span", { class: "unseen" }, "You: "), h("p", {}, text)));
  }

  private attempt(turn: Turn): Promise<void> {
    const view = this.begin(() => this.again(turn));
    this.toEnd();
    return this.carry(view, null, turn, () => this.sent(turn));
  }

  /** Sends a message until it arrives; the same id makes a second sending the same message. */
  private async *sent(turn: Turn): AsyncGenerator<RunEvent> {
    const { agent, engagement, hub } = this.options;
    const message: NewMessage = {
      message: turn.message,
      client_message_id: turn.id,
      ...(this.id ? { conversation_id: this.id } : {}),
      ...(agent ? { agent } : {}),
      ...(engagement ? { engagement_id: engagement } : {}),
    };
    for (let attempt = 1; ; attempt += 1) {
      try {
        return yield* hub.chat(message, this.stopper.signal);
      } catch (fault) {
        const isLost = fault instanceof Refused && fault.status === 0 && !turn.run && attempt < MOST_ATTEMPTS;
        if (!isLost) throw fault;
        this.lost.hidden = false;
        await pause(400 * 2 ** attempt, this.stopper.signal);
      }
    }
  }

  private follow(run: string, after: number): AsyncGenerator<RunEvent> {
    return this.options.hub.follow(run, after, this.stopper.signal, (isLost) => {
      this.lost.hidden = !isLost;
    });
  }

  private begin(retry: (() => void) | null): RunView {
    const view = new RunView(this.context, retry);
    this.log.append(view.node);
    view.begin();
    return view;
  }

  /** Shows a run from these events, and from its own stream when they break off before its end. */
  private async carry(view: RunView, run: string | null, turn: Turn | null, events: () => AsyncGenerator<RunEvent>): Promise<void> {
    const current: Current = { view, id: run, turn };
    this.current = current;
    this.composer.busy(true, run !== null);
    this.live.textContent = "Working";
    try {
      await this.drain(current, events());
    } catch (fault) {
      if (isAbort(fault)) return;
      await this.resume(current, fault);
    } finally {
      this.idle(current);
    }
  }

  private async drain(current: Current, events: AsyncGenerator<RunEvent>): Promise<void> {
    for await (const event of events) {
      this.lost.hidden = true;
      this.happened(current, event);
      if (isTerminal(event)) return;
    }
    if (current.id && current.view.status !== "waiting") {
      await this.drain(current, this.follow(current.id, current.view.sequence));
    }
  }

  private async resume(current: Current, fault: unknown): Promise<void> {
    if (!current.id) return this.refused(current, fault);
    try {
      await this.drain(current, this.follow(current.id, current.view.sequence));
    } catch (again) {
      if (isAbort(again) || (again instanceof Refused && again.status === 401)) return;
      const isGone = again instanceof Refused && again.status === 404;
      if (isGone && current.turn) current.turn.ended = true;
      current.view.add(this.notice(isGone ? "This answer is no longer kept." : wordsOf(again)));
    }
  }

  private happened(current: Current, event: RunEvent): void {
    const { view, turn } = current;
    const isNew = event.sequence > (turn?.seen ?? 0);
    this.grow(() => view.apply(event));
    current.id ??= event.run_id;
    this.composer.busy(true, true);
    if (event.type === "run.started") this.started(event);
    if (isNew && event.type === "message.completed" && event.text) this.live.textContent = event.text;
    if (isNew && event.type === "approval.requested") {
      this.live.textContent = "A person’s approval is needed.";
      this.options.tell("approval", { approval: event.approval_id, state: "pending" });
    }
    if (turn) this.remember(turn, event);
  }

  /** Where this tab stands in the run; not at every word, which would cost more than it is worth. */
  private remember(turn: Turn, event: RunEvent): void {
    turn.run = event.run_id;
    turn.seen = Math.max(turn.seen, event.sequence);
    turn.ended = isTerminal(event);
    if (event.type !== "message.delta") this.options.thread?.save();
  }

  private started(event: { model: string; conversation_id: string }): void {
    this.named(event.model);
    if (this.id === event.conversation_id) return;
    this.id = event.conversation_id;
    if (this.options.thread) this.options.thread.kept.conversation = this.id;
    this.options.tell("conversation", { conversation: this.id });
  }

  private refused(current: Current, fault: unknown): void {
    const { view, turn } = current;
    view.end("failed");
    view.thinks();
    const code = fault instanceof Refused ? fault.code : "";
    if (fault instanceof Refused && fault.status === 401) return;
    const again = (): void => {
      view.node.remove();
      if (turn) void this.attempt(turn);
    };
    if (code === "conversation_busy") {
      view.add(this.notice("This conversation is still answering an earlier message.", button("Show it", () => this.open(), { kind: "primary" })));
      return;
    }
    if (turn && code !== "") turn.ended = true;
    this.options.thread?.save();
    view.add(this.notice(wordsOf(fault), button("Try again", again, { kind: "primary" })));
  }

  private idle(current: Current): void {
    if (current.view.status === "running") current.view.end("completed");
    current.view.thinks();
    if (this.current === current) this.current = null;
    this.paused = current.view.status === "waiting" ? current : null;
    this.lost.hidden = true;
    this.composer.busy(false);
    if (!this.stopper.signal.aborted && this.id) this.options.tell("conversation", { conversation: this.id });
  }

  private async stop(): Promise<void> {
    if (!this.current?.id) return;
    try {
      await this.options.hub.post(`v1/runs/${this.current.id}/cancel`);
    } catch (fault) {
      this.log.append(this.notice(wordsOf(fault)));
      throw fault;
    }
  }

  /** A run that waited goes on once its question is answered. */
  private approval(id: string, state: string): void {
    this.live.textContent = `The approval is ${state}.`;
    this.options.tell("approval", { approval: id, state });
    const { paused } = this;
    if (!paused?.id || this.current) return;
    const { id: run, turn, view } = paused;
    view.begin();
    void this.carry(view, run, turn, () => this.follow(run, view.sequence));
  }

  // Files -------------------------------------------------------------------------------------------------------------

  private async upload(files: File[]): Promise<void> {
    const { engagement, hub } = this.options;
    if (this.log.querySelector(".welcome")) fill(this.log);
    const names = files.length === 1 ? (files[0]?.name ?? "") : `${files.length} files`;
    const note = h("p", { class: "note", role: "status" }, `Uploading ${names}…`);
    this.log.append(note);
    this.toEnd();
    try {
      const told = await hub.upload<{ items: Taken[] }>("v1/knowledge/documents?wait=true", files, engagement ? { engagement_id: engagement } : {});
      fill(note, told.items.map((item, place) => h("span", { class: "taken" }, takenIn(item, files[place]?.name ?? ""))));
    } catch (fault) {
      note.replaceWith(this.notice(`${names}: ${wordsOf(fault)}`));
    }
  }

  // The page around ---------------------------------------------------------------------------------------------------

  /** The model's name; the offline one is named as such. */
  private named(model: string | null): void {
    if (!model) return;
    const offline = model.startsWith("offline");
    this.model.textContent = offline ? "Offline model" : model;
    this.model.title = offline
      ? "No model is configured: a small built-in one understands plain sentences and calls the same tools."
      : "The model that answers";
  }

  private notice(text: string, action: HTMLElement | null = null): HTMLElement {
    return h("div", { class: "banner bad", role: "alert" }, h("div", {}, text), action);
  }

  private grow(change: () => void): void {
    const wasNear = this.isNearEnd();
    change();
    if (wasNear) this.toEnd();
  }

  private isNearEnd(): boolean {
    return this.scroller.scrollHeight - this.scroller.scrollTop - this.scroller.clientHeight < 160;
  }

  private toEnd(): void {
    this.scroller.scrollTop = this.scroller.scrollHeight;
  }
}

interface Taken {
  title: string;
  outcome: string;
  status?: string;
  failure?: string | null;
  error?: { message?: string };
}

function takenIn(item: Taken, name: string): string {
  const title = item.title || name;
  if (item.outcome !== "done") return `${title} was not taken in: ${item.error?.message ?? item.outcome}`;
  if (item.status === "failed") return `${title} cannot be read: ${item.failure ?? "the reason is not known"}`;
  return item.status === "ready" ? `${title} was taken in and can be searched.` : `${title} was taken in; it can be searched in a moment.`;
}

/** A past call is kept as the model was told of it: what it gave is one thing among others there, and long ones are cut. */
function within(told: unknown): { result?: unknown; error?: { code?: string; message?: string } } {
  if (typeof told !== "object" || told === null) return {};
  const { result, error } = told as { result?: unknown; error?: { code?: string; message?: string } };
  return { ...(result === undefined ? {} : { result }), ...(error === undefined || error === null ? {} : { error }) };
}
