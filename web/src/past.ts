// What was said before: read from the archive, or by a tab from the runs that it remembers.

import type { Archive, Context } from "./context.ts";
import { h } from "./dom.ts";
import { isAbort, Refused } from "./hub.ts";
import { visible } from "./letters.ts";
import type { Log } from "./log.ts";
import { RunView } from "./run_view.ts";
import { SaidView } from "./said_view.ts";
import type { Turn } from "./thread.ts";
import type { RunEvent, Said, Summary } from "./wire.ts";

const AT_ONCE = 4;
const GOING: ReadonlySet<string> = new Set(["running", "waiting"]);

export class Past {
  /** The last message that was shown: a run that goes on answers it. */
  lastSaid: SaidView | null = null;

  constructor(
    private readonly context: Context,
    private readonly log: Log,
    private readonly follow: (run: string) => AsyncGenerator<RunEvent>,
  ) {}

  /** Shows the archive's messages; gives the run that still goes on. */
  async load(archive: Archive, messages: readonly Said[], summaries: readonly Summary[]): Promise<string | null> {
    const ends = new Map(messages.map((message, at) => [message.run_id, at]));
    const told = summaries.find((summary) => ends.has(summary.last_run_id));
    const last = messages.at(-1)?.run_id ?? null;
    const goesOn = last !== null && GOING.has((await this.context.hub.get<{ status: string }>(`v1/runs/${last}`)).status);
    this.log.fill();
    let said: SaidView | null = null;
    for (const [at, message] of messages.entries()) {
      const isLast = messages[at + 1]?.run_id !== message.run_id;
      if (message.role === "user") {
        said = new SaidView(this.context, message.text, message);
        this.log.add(said.node);
        if (isLast && !goesOn) said.run = message.run_id;
      } else if (!(goesOn && message.run_id === last)) {
        const view = this.answered(archive, message, said);
        if (isLast) view.offer(message);
      }
      if (told && ends.get(told.last_run_id) === at) this.log.add(summarised(told));
    }
    this.lastSaid = said;
    this.log.toEnd();
    return goesOn ? last : null;
  }

  /** Shows the turns that this tab remembers by their runs' own events, as they were sent; gives who spoke last. */
  async restore(turns: readonly Turn[]): Promise<string | null> {
    const past = turns.filter((turn) => turn.ended);
    const views = past.map((turn) => new RunView(this.context, null, new SaidView(this.context, turn.message)));
    for (let at = 0; at < past.length; at += AT_ONCE) {
      await Promise.all(views.slice(at, at + AT_ONCE).map((view, place) => this.replay(past[at + place]?.run ?? null, view)));
    }
    this.log.fill();
    for (const view of views) this.log.add(...(view.said ? [view.said.node] : []), view.node);
    this.log.toEnd();
    return views.findLast((view) => view.speaker !== null)?.speaker ?? null;
  }

  private async replay(run: string | null, view: RunView): Promise<void> {
    if (run === null) return;
    try {
      for await (const event of this.follow(run)) view.apply(event);
    } catch (fault) {
      if (isAbort(fault) || (fault instanceof Refused && fault.status === 401)) throw fault;
      view.add(h("p", { class: "note" }, "This answer is no longer kept."));
    }
  }

  /** A message of the past, told to a view as the events it once was. */
  private answered(archive: Archive, message: Said, said: SaidView | null): RunView {
    const view = new RunView(this.context, null, said);
    view.run = message.run_id;
    const past = { run_id: message.run_id, sequence: 0 };
    this.log.add(view.node);
    for (const call of message.tool_calls) {
      view.call(call.call_id, call.tool, call.arguments);
      view.apply({ ...past, type: "tool.completed", call_id: call.call_id, outcome: call.outcome, ...within(call.result) });
      if (call.outcome === "waiting") void stillWaiting(archive, view, call.call_id);
    }
    if (message.text) {
      view.apply({ ...past, type: "message.completed", message_id: message.message_id, text: message.text, citations: message.citations });
    }
    return view;
  }
}

/** A line behind the turns that the model is not shown any more, which opens to what it is told in their place. */
function summarised({ text, model }: Summary): HTMLElement {
  return h("details", { class: "summarised note" },
    h("summary", {}, "From here upwards the model reads a summary; all of it stays here."),
    h("p", { class: "kept" }, visible(text)),
    h("p", {}, `Written by ${model}.`));
}

async function stillWaiting(archive: Archive, view: RunView, call: string): Promise<void> {
  const recorded = await archive.call(call).catch(() => null);
  if (recorded?.approval_id) view.awaits(recorded.approval_id);
}

/** A past call is kept as the model was told of it: what it gave is one thing among others there, and long ones are cut. */
function within(told: unknown): { result?: unknown; error?: { code?: string; message?: string } } {
  if (typeof told !== "object" || told === null) return {};
  const { result, error } = told as { result?: unknown; error?: { code?: string; message?: string } };
  return { ...(result === undefined ? {} : { result }), ...(error === undefined || error === null ? {} : { error }) };
}
