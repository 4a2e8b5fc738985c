// The newest run of a card's task: begun and cancelled there, told of by a list, and followed as it goes.

import { button, fill, h } from "../dom.ts";
import { isAbort, type Hub } from "../hub.ts";
import { Acts } from "./acts.ts";
import { Followers, inOrder, type Going } from "./followers.ts";
import { isGoing, isLastFrame, TaskRunView, type RunFrame, type RunLine, type TaskRun } from "./task_run.ts";

interface LatestRunOptions {
  hub: Hub;
  signal: AbortSignal;
  /** The address of whoever reads this. */
  reader: string;
  title: string;
  /** What the button says that begins one. */
  label: string;
  /** Where a run is begun. */
  path: string;
  /** Whether its reader is offered to end one. */
  mayCancel: boolean;
  /** Something began or ended; the words say what. */
  changed: (words: string) => void;
}

export class LatestRun {
  readonly node = h("div");
  readonly acts = new Acts();
  readonly start: HTMLButtonElement;
  private readonly cancel: HTMLButtonElement;
  private run: TaskRunView | null = null;
  private isOwn = false;
  /** The run cannot be followed: it is not asked for again. */
  private isGivenUp = false;
  /** While a stream tells of the run, the list does not: it would be heard late, and end the stream before its last word. */
  private stream: AbortSignal | null = null;

  constructor(private readonly options: LatestRunOptions) {
    const { title, label } = options;
    this.start = button(label, () => this.begin(), { kind: "primary small", "aria-label": `${label} ${title}` });
    this.cancel = button("Cancel", () => this.stop(), { kind: "danger small", "aria-label": `Cancel the run of ${title}` });
    this.settle();
  }

  /** The run that is under way, where it is worth following. */
  get going(): Going | null {
    const { run } = this;
    return run && isGoing(run.status) && !this.isGivenUp ? { id: run.id, status: run.status, isOwn: this.isOwn } : null;
  }

  /** What the list says, which may be older than what was pressed here since. */
  listed(line: RunLine | null | undefined): void {
    if (!line) return;
    if (this.run?.id === line.task_run_id) {
      if (this.stream === null) this.run.listed(line.status);
    } else if (!this.run || Date.parse(line.created_at) > Date.parse(this.run.createdAt)) this.attach(line, false);
    this.settle();
  }

  /** Shows the run as it goes, until it ends or is no longer to be followed. */
  async follow(stop: AbortSignal): Promise<void> {
    const { run } = this;
    if (!run) return;
    const path = `v1/task-runs/${run.id}/events`;
    const following = { after: run.sequence, signal: stop, lost: (isLost: boolean) => run.lost(isLost), isLast: isLastFrame };
    this.stream = stop;
    try {
      for await (const frame of this.options.hub.events<RunFrame>(path, following)) run.show(frame, frame.sequence);
    } catch (fault) {
      if (isAbort(fault)) return;
      this.isGivenUp = this.run === run;
      run.fault(fault);
    } finally {
      if (this.stream === stop) this.stream = null;
    }
  }

  private get isUnderWay(): boolean {
    return this.run !== null && isGoing(this.run.status);
  }

  private attach(line: RunLine, isOwn: boolean): TaskRunView {
    const { hub, reader, signal, title } = this.options;
    this.isOwn = isOwn;
    this.isGivenUp = false;
    this.run = new TaskRunView(line, { hub, reader, signal, title, cancel: this.cancel, changed: (run) => this.changed(run) });
    fill(this.node, this.run.node);
    return this.run;
  }

  private async begin(): Promise<void> {
    if (this.isUnderWay) return;
    const { hub, path, title } = this.options;
    const begun = await this.acts.act("run", (key) => hub.post<TaskRun>(path, undefined, key));
    if (!begun) return;
    const run = this.attach(begun.answer, true);
    run.show(begun.answer);
    run.open();
    this.settle();
    this.options.changed(`${title}: begun`);
  }

  private async stop(): Promise<void> {
    const { run } = this;
    if (!run || !isGoing(run.status)) return;
    const path = `v1/task-runs/${run.id}/cancel`;
    const cancelled = await this.acts.act(`cancel ${run.id}`, (key) => this.options.hub.post<TaskRun>(path, undefined, key));
    if (cancelled) run.show(cancelled.answer);
  }

  private changed(run: TaskRunView): void {
    if (run !== this.run) return;
    if (!isGoing(run.status)) this.acts.clear();
    this.settle();
    this.options.changed([`${this.options.title}: ${run.status}`, run.failure].filter(Boolean).join(". "));
  }

  /**
   * What can be pressed now. While a run goes, the button that begins one is not taken away but dead: it keeps the focus, and a
   * second press of a hasty hand meets nothing else.
   */
  private settle(): void {
    const going = this.isUnderWay;
    const cancelHadFocus = document.activeElement === this.cancel;
    this.start.setAttribute("aria-disabled", String(going));
    this.cancel.hidden = !going || !this.options.mayCancel;
    if (cancelHadFocus && !going) this.start.focus();
  }
}

/** Gives what has the runs followed that are worth it, of all there are now; none is once the view is left. */
export function following(runs: () => readonly LatestRun[], signal: AbortSignal): () => void {
  const followers = new Followers(async (id, stop) => {
    await runs().find((each) => each.going?.id === id)?.follow(stop);
  }, signal);
  return () => followers.keep(inOrder(runs().flatMap((each) => each.going ?? [])));
}
