// The conversation: what was said, what is being said, and the field to say more. Its past, its runs and its files have
// modules of their own; here they are put together.

import { Carrier, type Current } from "./carrier.ts";
import { CitationPanel } from "./citation_panel.ts";
import { Composer } from "./composer.ts";
import type { Archive, Context } from "./context.ts";
import { button, h, icon } from "./dom.ts";
import { isAbort, newId, Refused, wordsOf, type Hub, type NewMessage } from "./hub.ts";
import { Log, notice } from "./log.ts";
import { Passages } from "./passages.ts";
import { Past } from "./past.ts";
import { RunView } from "./run_view.ts";
import { SaidView } from "./said_view.ts";
import { Speakers } from "./speakers.ts";
import type { Thread, Turn } from "./thread.ts";
import { upload } from "./uploads.ts";
import { isTerminal, type RunEvent } from "./wire.ts";

const EXAMPLES: readonly (readonly [string, string])[] = [
  ["Ask the documents", "When must the engagement letter be renewed, and who signs it?"],
  ["Have something done", "Create a task to refresh the analytics"],
  ["Know the limits", "What may you do on your own?"],
];
const WORKING = "Working";

export interface ConversationOptions {
  hub: Hub;
  home: URL;
  archive: Archive | null;
  /** What this tab remembers; null where the archive does. */
  thread: Thread | null;
  conversation: string | null;
  /** Who answers in a conversation that begins here. */
  agent: string | null;
  engagement: string | null;
  heading: string;
  /** The name of the model, where it is known before any run. */
  model: string | null;
  /** Tells the page around: "conversation" and "approval". */
  tell: (what: "conversation" | "approval", detail: Record<string, unknown>) => void;
}

export class Conversation {
  readonly node: HTMLElement;
  private readonly log = new Log();
  private readonly title: HTMLElement;
  private readonly speakers: Speakers;
  private readonly model = h("span", { class: "model" });
  private readonly live = h("p", { class: "unseen", role: "status" });
  private readonly lost = h("p", { class: "lost", role: "alert", hidden: true }, "The connection was lost. Trying again…");
  private readonly composer: Composer;
  private readonly panel: CitationPanel;
  private readonly context: Context;
  private readonly carrier: Carrier;
  private readonly past: Past;
  private id: string | null;
  /** Why the hub would not have the version that was asked for last. */
  private notTaken: string | null = null;

  constructor(private readonly options: ConversationOptions) {
    const { hub, home, archive, thread, engagement } = options;
    this.id = options.conversation ?? thread?.kept.conversation ?? null;
    this.title = h("h1", { tabIndex: -1 }, options.heading);
    this.speakers = new Speakers(this.id ? null : options.agent);
    this.panel = new CitationPanel(archive, home);
    this.context = {
      hub, home, archive, passages: new Passages(),
      open: (citation, around, from) => this.panel.open(citation, around, from),
      grow: (change) => this.log.grow(change),
      approval: (id, state) => this.approval(id, state),
      again: (view, run) => this.regenerate(view, run),
      rewrite: (said, run, text) => this.rewrite(said, run, text),
      choose: archive ? (run) => void this.choose(archive, run) : null,
    };
    this.carrier = new Carrier({
      hub,
      lost: (isLost) => {
        this.lost.hidden = !isLost;
      },
      begun: (current) => this.begun(current),
      happened: (current, event) => this.happened(current, event),
      refused: (current, fault) => this.refused(current, fault),
      ended: () => this.ended(),
    });
    this.past = new Past(this.context, this.log, (run) => this.carrier.follow(run, 0));
    this.composer = new Composer({
      ask: (message) => this.ask(message),
      stop: () => this.stop(),
      upload: (files) => upload(hub, this.log, files, engagement),
    });
    const anew = thread ? button("New", () => this.anew(), { kind: "quiet small", title: "Begin a new conversation" }) : null;
    const rename = archive ? button(icon("edit"), () => this.rename(archive), { kind: "quiet small", "aria-label": "Rename this conversation", title: "Rename" }) : null;
    this.node = h("div", { class: "chat", on: { keydown: (event: KeyboardEvent) => event.key === "Escape" && this.panel.close() } },
      h("div", { class: "column" },
        h("header", { class: "bar" }, this.title, h("span", { class: "tools" }, rename, this.speakers.node, this.model, anew)),
        this.lost, this.log.node, this.composer.node, this.live),
      this.panel.node);
    this.named(options.model);
    if (archive) void this.learnAgents(archive);
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
      this.composer.busy(false);
      const isGone = fault instanceof Refused && fault.status === 404;
      this.log.fill(notice(isGone ? "There is no such conversation." : wordsOf(fault), isGone ? null : this.action("Try again", () => this.open())));
    }
  }

  leave(): void {
    this.carrier.leave();
  }

  focus(): void {
    this.composer.focus();
  }

  titled(title: string): void {
    if (title) this.title.textContent = title;
  }

  /** The title becomes a field until it is sent, or left. */
  private rename(archive: Archive): void {
    const { id, title } = this;
    if (!id || !title.isConnected) return;
    const field = h("input", { type: "text", value: title.textContent ?? "", maxlength: 80, required: true, "aria-label": "Title of this conversation", autocomplete: "off" });
    const done = (): void => {
      form.replaceWith(title);
      this.focus();
    };
    const send = async (): Promise<void> => {
      const kept = await archive.rename(id, field.value);
      done();
      this.titled(kept.title);
      this.options.tell("conversation", { conversation: id });
    };
    const form = h("form", { class: "renaming", on: {
      submit: (event: Event) => {
        event.preventDefault();
        void send().catch((fault: unknown) => this.log.add(notice(wordsOf(fault))));
      },
      keydown: (event: KeyboardEvent) => event.key === "Escape" && (event.stopPropagation(), done()),
    } }, field, h("button", { type: "submit", class: "button small" }, "Rename"));
    title.replaceWith(form);
    field.select();
  }

  private empty(): void {
    this.log.fill(h("div", { class: "welcome" },
      h("h2", {}, "What would you like to know, or have done?"),
      h("p", {}, "Answers cite the firm’s own documents. Everything that acts is decided by policy and stands in the activity log."),
      h("ul", { class: "examples" }, EXAMPLES.map(([title, question]) => h("li", {},
        h("button", { type: "button", class: "example", on: { click: () => this.example(question) } },
          h("span", { class: "example-title" }, title), h("span", {}, question)))))));
  }

  /** What is said before the past stands would be taken away with it: until then it waits in the field. */
  private loading(): void {
    this.log.loading();
    this.composer.busy(true);
  }

  private async load(archive: Archive, id: string): Promise<void> {
    this.loading();
    const [kept, messages, summaries] = await Promise.all([archive.conversation(id), archive.messages(id), archive.summaries(id)]);
    this.titled(kept.title || "Conversation");
    this.speakers.found(kept.agent, kept.agent_ceiling);
    const run = await this.past.load(archive, messages, summaries);
    this.composer.busy(false);
    if (run !== null) await this.carrier.carry(this.begin(null, this.past.lastSaid), run, null, () => this.carrier.follow(run, 0));
  }

  /** The turns that this tab remembers; the last may go on, or not have been sent. */
  private async restore(turns: readonly Turn[]): Promise<void> {
    this.loading();
    const speaker = await this.past.restore(turns);
    this.composer.busy(false);
    if (speaker) this.speakers.speaks(speaker);
    const going = turns.find((turn) => !turn.ended);
    if (!going) return;
    const said = this.said(going.message);
    const { run } = going;
    if (run === null) return this.attempt(going, said);
    await this.carrier.carry(this.begin(() => this.again(going), said), run, going, () => this.carrier.follow(run, 0));
  }

  private async learnAgents(archive: Archive): Promise<void> {
    try {
      this.speakers.learn(await archive.agents());
    } catch {
      // Who speaks is then shown by name, and nobody is chosen.
    }
  }

  /** How the hub keeps the conversation: another tab may have had it handed over, or chosen. */
  private async learnSpeaker(archive: Archive, id: string): Promise<void> {
    const kept = await archive.conversation(id).catch(() => null);
    if (kept && !this.carrier.current) this.speakers.found(kept.agent, kept.agent_ceiling);
  }

  private anew(): void {
    this.options.thread?.forget();
    this.carrier.leave();
    this.options.tell("conversation", { conversation: null });
  }

  private example(question: string): void {
    this.focus();
    this.ask(question);
  }

  private ask(message: string): void {
    if (this.carrier.current) return;
    this.log.begin();
    void this.attempt(this.turn(message), this.said(message));
  }

  private said(message: string): SaidView {
    const said = new SaidView(this.context, message);
    this.log.add(said.node);
    return said;
  }

  /** The earlier answer, and what followed it, make room; they are kept, and on the hub's page one goes back to them. */
  private regenerate(view: RunView, run: string): void {
    const { said } = view;
    if (this.carrier.current || !said) return;
    this.log.cut(said.node);
    void this.beside("regenerate", run, said);
  }

  private rewrite(said: SaidView, run: string, text: string): void {
    if (this.carrier.current) return;
    this.log.cut(said.node, true);
    void this.beside("edit", run, this.said(text));
  }

  private async beside(act: "regenerate" | "edit", run: string, said: SaidView): Promise<void> {
    const { archive, thread } = this.options;
    const before = thread?.cut(run) ?? [];
    this.focus();
    this.notTaken = null;
    await this.attempt(this.turn(said.text, { act, run }), said);
    if (this.notTaken !== null) await this.takeBack(before, act === "edit" ? said.text : "", this.notTaken);
    else if (archive && this.id && !this.carrier.current) await this.refresh(archive, this.id);
  }

  /** The hub would have no other version: what made room for it stands again, and the words are their writer's. */
  private async takeBack(before: Turn[], message: string, words: string): Promise<void> {
    const { archive, thread } = this.options;
    thread?.keep(before);
    if (thread) await this.restore(before);
    else if (archive && this.id) await this.refresh(archive, this.id);
    if (message) this.composer.giveBack(message);
    this.log.add(notice(words));
    this.log.toEnd();
  }

  /** Another version is shown, and gone on with. */
  private async choose(archive: Archive, run: string): Promise<void> {
    if (this.carrier.current || !this.id) return;
    try {
      await archive.choose(this.id, run);
      await this.refresh(archive, this.id);
      this.live.textContent = "Another version is shown.";
    } catch (fault) {
      this.log.add(notice(wordsOf(fault)));
    }
  }

  /** Shows the path as it is kept, in place of what stood there. */
  private async refresh(archive: Archive, id: string): Promise<void> {
    const [messages, summaries] = await Promise.all([archive.messages(id), archive.summaries(id)]);
    if (!this.carrier.current && !this.carrier.isLeft) await this.past.load(archive, messages, summaries);
  }

  private again(turn: Turn): void {
    void this.attempt(this.turn(turn.message));
  }

  private turn(message: string, version?: Turn["version"]): Turn {
    const kept = this.options.thread?.begin(message, newId(), version);
    return kept ?? { message, id: newId(), run: null, seen: 0, ended: false, ...(version ? { version } : {}) };
  }

  /** `said`: where the message stands, as long as it may have to be taken back. */
  private attempt(turn: Turn, said: SaidView | null = null): Promise<void> {
    const view = this.begin(() => this.again(turn), said);
    this.log.toEnd();
    return this.carrier.carry(view, null, turn, () => this.carrier.sent(turn, this.message(turn)));
  }

  private message(turn: Turn): NewMessage {
    const { engagement } = this.options;
    // The page names the agent of a new conversation. To name it again would undo what was handed over since, and lift a
    // ceiling that only a person's choice may lift (ADR-0026).
    const agent = this.speakers.chosen ?? (this.id ? null : this.options.agent);
    return {
      message: turn.message,
      client_message_id: turn.id,
      ...(agent ? { agent } : {}),
      ...(this.id ? { conversation_id: this.id } : engagement ? { engagement_id: engagement } : {}),
    };
  }

  private begin(retry: (() => void) | null, said: SaidView | null = null): RunView {
    const again = retry && ((): void => {
      this.focus();
      retry();
    });
    const view = new RunView(this.context, again, said);
    this.log.add(view.node);
    view.begin();
    return view;
  }

  private begun(current: Current): void {
    this.composer.busy(true, current.id !== null);
    this.speakers.busy(true);
    this.live.textContent = WORKING;
  }

  private happened({ view, turn }: Current, event: RunEvent): void {
    const isNew = event.sequence > (turn?.seen ?? 0);
    this.log.grow(() => view.apply(event));
    this.composer.busy(true, true);
    if (event.type === "run.started") this.started(event, turn !== null);
    if (view.speaker) this.speakers.speaks(view.speaker);
    if (isNew) this.announce(event);
    if (turn) this.remember(turn, event);
  }

  /** Says what a reader of the screen's words should hear; a failure says itself. */
  private announce(event: RunEvent): void {
    if (event.type === "message.completed" && event.text) this.live.textContent = event.text;
    if (event.type === "run.cancelled") this.live.textContent = "Stopped.";
    if (event.type === "approval.decided") this.live.textContent = `${event.by} answered: ${event.decision}.`;
    if (event.type === "approval.requested") {
      this.live.textContent = "A person’s approval is needed.";
      this.options.tell("approval", { approval: event.approval_id, state: "pending" });
    }
  }

  /** Where this tab stands in the run; not at every word, which would cost more than it is worth. */
  private remember(turn: Turn, event: RunEvent): void {
    turn.run = event.run_id;
    turn.seen = Math.max(turn.seen, event.sequence);
    turn.ended = isTerminal(event);
    if (event.type !== "message.delta") this.options.thread?.save();
  }

  private started(event: { agent: string; model: string; conversation_id: string }, wasAsked: boolean): void {
    this.named(event.model);
    if (wasAsked) this.speakers.arrived(event.agent);
    if (this.id === event.conversation_id) return;
    this.id = event.conversation_id;
    if (this.options.thread) this.options.thread.kept.conversation = this.id;
    this.options.tell("conversation", { conversation: this.id });
  }

  private refused({ view, turn }: Current, fault: unknown): void {
    view.end("failed");
    view.thinks();
    if (fault instanceof Refused && fault.status === 401) return;
    const code = fault instanceof Refused ? fault.code : "";
    if (turn?.version && code !== "") {
      this.notTaken = wordsOf(fault);
      return;
    }
    if (turn && code === "conversation_busy") return this.giveBack(view, turn);
    if (turn && code !== "") turn.ended = true;
    this.options.thread?.save();
    view.add(notice(wordsOf(fault), this.action("Try again", () => {
      view.node.remove();
      if (turn) void this.attempt(turn, view.said);
    })));
  }

  /** The conversation answers somebody else just now: the message was not taken, and is its writer's again. */
  private giveBack(view: RunView, turn: Turn): void {
    const { archive, thread } = this.options;
    thread?.drop(turn);
    view.said?.node.remove();
    this.composer.giveBack(turn.message);
    const where = archive ? "" : " It was asked elsewhere, in another tab perhaps.";
    const words = `This conversation is still answering an earlier message.${where} Yours stands in the field again.`;
    view.add(notice(words, archive && this.action("Show it", () => this.open())));
  }

  private ended(): void {
    const { archive, tell } = this.options;
    this.composer.busy(false);
    this.speakers.busy(false);
    if (this.live.textContent === WORKING) this.live.textContent = "";
    if (this.carrier.isLeft || !this.id) return;
    tell("conversation", { conversation: this.id, answered: true });
    if (archive) void this.learnSpeaker(archive, this.id);
  }

  private async stop(): Promise<void> {
    const run = this.carrier.current?.id;
    if (!run) return;
    try {
      await this.options.hub.post(`v1/runs/${run}/cancel`);
    } catch (fault) {
      this.log.add(notice(wordsOf(fault)));
      throw fault;
    }
  }

  /** Answered here; the run that waited for it goes on by itself. */
  private approval(id: string, state: string): void {
    this.live.textContent = `The approval is ${state}.`;
    this.options.tell("approval", { approval: id, state });
  }

  /** The model's name; the offline one is named as such. */
  private named(model: string | null): void {
    if (!model) return;
    const offline = model.startsWith("offline");
    this.model.textContent = offline ? "Offline model" : model;
    this.model.title = offline
      ? "No model is configured: a small built-in one understands plain sentences and calls the same tools."
      : "The model that answers";
  }

  /** A button that goes when it is pressed; focus goes to the field, where one goes on. */
  private action(label: string, press: () => unknown): HTMLButtonElement {
    return button(label, () => {
      this.focus();
      return press();
    }, { kind: "primary" });
  }
}
