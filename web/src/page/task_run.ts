// One run of a task: how far it has come, in a bar and in words, its steps, and what it waits for.

import { fill, go, h, stateBadge, time } from "../dom.ts";
import { isAbort, wordsOf, type Hub } from "../hub.ts";
import { visible } from "../letters.ts";
import { ProgressBar } from "../progress_bar.ts";
import type { Approval } from "../wire.ts";
import { titleOf } from "../words.ts";
import type { Page } from "./frame.ts";

const MOST_LINKS = 5;

interface Step {
  name: string;
  tool: string;
  status: string;
  attempts?: number;
  items?: number;
  items_done?: number;
}

export interface TaskRun {
  task_run_id: string;
  status: string;
  created_at: string;
  progress: number;
  message: string;
  failure?: string;
  requested_by: string;
  updated_at?: string;
  steps: Step[];
  answer?: { conversation_id: string; run_id: string; text?: string };
}

/** A run as its task's line names it. */
export type RunLine = Pick<TaskRun, "task_run_id" | "status" | "created_at">;

/** The run as it stands at one moment of its stream. */
export type RunFrame = TaskRun & { type: string; sequence: number };

function isOlder(run: TaskRun, than: TaskRun | null): boolean {
  return than?.updated_at !== undefined && run.updated_at !== undefined && Date.parse(run.updated_at) < Date.parse(than.updated_at);
}

/** Whether anything may still become of a run. */
export function isGoing(status: string): boolean {
  return ["queued", "running", "waiting"].includes(status);
}

export function isLastFrame({ status }: RunFrame): boolean {
  return !isGoing(status);
}

export interface TaskRunOptions {
  hub: Hub;
  /** The address of whoever reads this. */
  reader: string;
  title: string;
  signal: AbortSignal;
  /** Ends the run. */
  cancel: HTMLElement;
  /** The run's status is another one now, whoever told of it. */
  changed: (run: TaskRunView) => void;
}

export class TaskRunView {
  readonly node: HTMLElement;
  /** The number of the last frame that was shown. */
  sequence = 0;
  status: string;
  private run: TaskRun | null = null;
  private isLost = false;
  private readonly head = h("p", { class: "run-head" });
  private readonly bar: ProgressBar;
  private readonly words = h("p", { class: "run-words kept" });
  private readonly more = h("div", { class: "run-more" });
  private readonly steps = h("div");
  private readonly details: HTMLDetailsElement;
  /** What it waits for, as far as its reader may see it. */
  private waitsFor: Page<Approval> | null = null;

  constructor(private readonly line: RunLine, private readonly options: TaskRunOptions) {
    this.status = line.status;
    this.bar = new ProgressBar(`Run of ${options.title}`);
    this.details = h("details", {}, h("summary", {}, "Details"), this.steps);
    this.details.addEventListener("toggle", () => this.details.open && void this.look());
    this.node = h("section", { class: "task-run", "aria-label": `Latest run of ${options.title}` },
      h("div", { class: "run-line" }, this.head, options.cancel), this.bar.node, this.words, this.more, this.details);
    this.layOut();
    if (line.status === "failed") whenSeen(this.node, options.signal, () => void this.look());
  }

  get id(): string {
    return this.line.task_run_id;
  }

  get createdAt(): string {
    return this.line.created_at;
  }

  get failure(): string {
    return this.run?.failure ?? "";
  }

  /** What the list says of it; of a run that has ended nothing else is true any more. */
  listed(status: string): void {
    if (status === this.status || !isGoing(this.status)) return;
    this.status = status;
    this.layOut();
    if (this.run || this.details.open) void this.look();
    this.options.changed(this);
  }

  /** Shows the run as it stands; what is older than what is shown is passed over. */
  show(run: TaskRun, sequence = this.sequence): void {
    if (sequence < this.sequence || (!isGoing(this.status) && isGoing(run.status)) || isOlder(run, this.run)) return;
    const hasChanged = run.status !== this.status;
    this.sequence = sequence;
    this.status = run.status;
    this.run = run;
    this.isLost = false;
    this.layOut();
    if (run.status === "waiting") void this.learnWhatFor(run);
    else this.waitsFor = null;
    if (hasChanged) this.options.changed(this);
  }

  open(): void {
    this.details.open = true;
  }

  lost(isLost: boolean): void {
    if (isLost === this.isLost) return;
    this.isLost = isLost;
    this.layOut();
  }

  /** Tells why it could not be looked at. */
  fault(fault: unknown): void {
    if (!isAbort(fault)) fill(this.words, h("span", { class: "error" }, wordsOf(fault)));
  }

  private async look(): Promise<void> {
    try {
      this.show(await this.options.hub.get<TaskRun>(`v1/task-runs/${this.id}`, { signal: this.options.signal }));
    } catch (fault) {
      this.fault(fault);
    }
  }

  private layOut(): void {
    const { run, status } = this;
    fill(this.head, "Latest run ", stateBadge(status), " ", time(this.createdAt));
    // Nobody can say how much is done of what has not made its first step, or is the agent's to find out.
    const isUnknown = !run || status === "queued" || (status === "running" && run.progress === 0);
    this.bar.node.hidden = !run && !isGoing(status);
    this.bar.tone(status === "completed" ? "good" : status === "failed" || status === "cancelled" ? "bad" : "plain");
    const words = this.isLost ? "The connection was lost. Trying again…" : wordsFor(run, status);
    this.bar.show(isUnknown ? null : run.progress, words);
    // What it waits for is said with a way there, where there is one.
    fill(this.words, status === "waiting" && this.waitsFor?.items.length && !this.isLost ? "" : words);
    if (!run) return;
    fill(this.more, this.why(run), this.answer(run));
    fill(this.steps, run.steps.length
      ? h("ol", { class: "steps" }, run.steps.map((step) => h("li", {}, stepLine(step, isGoing(status)))))
      : h("p", { class: "faint" }, isGoing(status) ? "It has not begun yet." : "It made no step."));
  }

  private why(run: TaskRun): HTMLElement | null {
    if (run.status === "failed") return h("p", { class: "error kept" }, run.failure ?? "It failed.");
    if (run.status !== "waiting" || this.waitsFor === null) return null;
    const { items: found, next_cursor } = this.waitsFor;
    if (!found.length) return h("p", { class: "waits-for" }, next_cursor ? go("approvals", "See what waits for approval") : "Somebody else has to approve it.");
    const rest = found.length - MOST_LINKS;
    return h("p", { class: "waits-for" }, "Waits for approval: ",
      found.slice(0, MOST_LINKS).map((each, place) => [place ? ", " : "", go(`approval=${each.id}`, titleOf(each.tool))]),
      rest > 0 && [" and ", go("approvals", `${rest} more`)]);
  }

  private answer({ answer, requested_by }: TaskRun): HTMLElement | null {
    if (!answer) return null;
    return h("div", { class: "run-answer" }, answer.text && h("p", { class: "kept" }, visible(answer.text)),
      requested_by === this.options.reader && go(`conversation=${answer.conversation_id}`, "Open its conversation"));
  }

  /** A person finds the way to what the run waits for, where it is theirs to see. */
  private async learnWhatFor(run: TaskRun): Promise<void> {
    const { hub, signal } = this.options;
    const isOfIt = (each: Approval): boolean =>
      each.task_run_id === run.task_run_id || (run.answer !== undefined && each.run_id === run.answer.run_id);
    try {
      const { items, next_cursor } = await hub.get<Page<Approval>>("v1/approvals?state=pending&limit=100", { signal });
      if (this.status !== "waiting") return;
      this.waitsFor = { items: items.filter(isOfIt), next_cursor };
      this.layOut();
    } catch {
      // The badge says that it waits; the next frame asks again.
    }
  }
}

/** Why a run failed is asked for once somebody has it before their eyes: a list may hold a hundred. */
function whenSeen(node: HTMLElement, signal: AbortSignal, act: () => void): void {
  const watcher = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    watcher.disconnect();
    act();
  });
  watcher.observe(node);
  signal.addEventListener("abort", () => watcher.disconnect());
}

const WORDS: Record<string, string> = {
  queued: "Queued: a worker takes it up in a moment.", running: "Under way.", waiting: "Waits for a person’s approval.",
};

/** The run's own words, where they are known and of now. */
function wordsFor(run: TaskRun | null, status: string): string {
  if (status === "failed") return "";
  return (run?.status === status && visible(run.message)) || (WORDS[status] ?? "");
}

function stepLine(step: Step, isUnderWay: boolean): Node[] {
  const status = step.status === "running" && !isUnderWay ? "unfinished" : step.status;
  const words = step.name.replaceAll("_", " ");
  const count = step.items === undefined ? "" : `${step.items_done ?? 0} of ${step.items}`;
  const attempts = step.attempts === undefined ? "" : `${step.attempts} attempts`;
  return [
    h("span", { class: "step-name" }, words.charAt(0).toUpperCase() + words.slice(1)),
    h("span", { class: "faint" }, [titleOf(step.tool), count, attempts].filter((each) => each && each !== words).join(" · ")),
    stateBadge(status) ?? h("span"),
  ];
}
