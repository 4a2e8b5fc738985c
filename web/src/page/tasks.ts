// Tasks, each with what its newest run is doing: begun and cancelled here, and followed as it goes.

import { button, fill, go, h, stateBadge } from "../dom.ts";
import { isAbort, pause, wordsOf, type Hub } from "../hub.ts";
import { Acts } from "./acts.ts";
import { Cards } from "./cards.ts";
import { Followers, inOrder } from "./followers.ts";
import { frame, type Page } from "./frame.ts";
import { isGoing, isLastFrame, TaskRunView, type RunFrame, type RunLine, type TaskRun } from "./task_run.ts";

const PATH = "v1/tasks?limit=100";
const EVERY_MS = 3_000;
/** While nothing is under way that is known of: what others and schedules begin is seen all the same. */
const SELDOM_MS = 15_000;
/** The kind of what the agent itself is to do; every other names a workflow. */
const OBJECTIVE = "objective";

export interface Task {
  task_id: string;
  title: string;
  description?: string | null;
  kind?: string | null;
  status: string;
  assignee?: string | null;
  due_on?: string | null;
  created_by: string;
  latest_run?: RunLine | null;
}

/** Whether a workflow, or the agent, can do it. */
export function isRunnable(task: Task): boolean {
  return Boolean(task.kind) && task.status !== "cancelled";
}

export async function showTasks(hub: Hub, main: HTMLElement, signal: AbortSignal, reader: string): Promise<void> {
  const place = frame(main, "Tasks", "Work for people, and for workflows that run in the background.");
  const view = new TasksView(hub, signal, reader);
  await view.load();
  fill(place, view.node);
  void view.watch();
}

class TasksView {
  readonly node: HTMLElement;
  private readonly cards: Cards<Task, TaskCard>;
  private readonly followers: Followers;
  private readonly said = h("p", { class: "unseen", role: "status" });
  private readonly lost = h("p", { class: "error", role: "alert" });
  private readonly none = h("p", { class: "empty", hidden: true }, "There are no tasks yet. Try “Create a task to refresh the analytics”.");
  private readonly older = button("Show older", () => this.loadOlder(), { kind: "quiet", hidden: true });
  private next: string | null = null;
  private hasOlder = false;

  constructor(private readonly hub: Hub, private readonly signal: AbortSignal, reader: string) {
    this.followers = new Followers((id, stop) => this.follow(id, stop), signal);
    const changed = (words: string): void => {
      fill(this.said, words);
      this.arrange();
    };
    this.cards = new Cards((task) => task.task_id, (task) => new TaskCard(task, { hub, signal, reader, changed }));
    this.node = h("div", {}, this.said, this.lost, this.none, this.cards.node, this.older);
  }

  async load(): Promise<void> {
    const { items, next_cursor } = await this.hub.get<Page<Task>>(PATH, { signal: this.signal });
    this.cards.show(items, this.hasOlder);
    if (!this.hasOlder) this.next = next_cursor;
    this.settle();
  }

  /** Looks at the list again and again, for what streams do not tell of. */
  async watch(): Promise<void> {
    while (!this.signal.aborted) {
      try {
        await pause(this.cards.all.some((card) => card.going) ? EVERY_MS : SELDOM_MS, this.signal);
        if (!document.hidden) await this.load();
        fill(this.lost);
      } catch (fault) {
        if (isAbort(fault)) return;
        this.fault(fault);
      }
    }
  }

  private fault(fault: unknown): void {
    const words = `${wordsOf(fault)} Trying again…`;
    if (this.lost.textContent !== words) fill(this.lost, words);
  }

  private async loadOlder(): Promise<void> {
    if (this.next === null) return;
    try {
      const { items, next_cursor } = await this.hub.get<Page<Task>>(`${PATH}&cursor=${encodeURIComponent(this.next)}`, { signal: this.signal });
      this.hasOlder = true;
      this.cards.append(items);
      this.next = next_cursor;
      this.settle();
    } catch (fault) {
      if (!isAbort(fault)) fill(this.lost, wordsOf(fault));
    }
  }

  private settle(): void {
    this.older.hidden = this.next === null;
    this.none.hidden = this.cards.all.length > 0;
    this.arrange();
  }

  private arrange(): void {
    this.followers.keep(inOrder(this.cards.all.flatMap((card) => card.going ?? [])));
  }

  private async follow(id: string, stop: AbortSignal): Promise<void> {
    const card = this.cards.all.find((each) => each.going?.id === id);
    await card?.follow(stop);
  }
}

interface TaskCardOptions {
  hub: Hub;
  signal: AbortSignal;
  reader: string;
  /** Something began or ended; the words say what. */
  changed: (words: string) => void;
}

class TaskCard {
  readonly node = h("li", { class: "card" });
  private readonly about = h("div", { class: "card-about" });
  private readonly runs = h("div");
  private readonly buttons = h("div", { class: "buttons" });
  private readonly acts = new Acts();
  private readonly start: HTMLButtonElement;
  private readonly cancel: HTMLButtonElement;
  private readonly plan: HTMLAnchorElement;
  private run: TaskRunView | null = null;
  private isOwn = false;
  /** The run cannot be followed: it is not asked for again. */
  private isGivenUp = false;
  /** While a stream tells of the run, the list does not: it would be heard late, and end the stream before its last word. */
  private stream: AbortSignal | null = null;
  private shown = "";

  constructor(private task: Task, private readonly options: TaskCardOptions) {
    const { title } = task;
    this.start = button("Run", () => this.begin(), { kind: "primary small", "aria-label": `Run ${title}` });
    this.cancel = button("Cancel", () => this.stop(), { kind: "danger small", "aria-label": `Cancel the run of ${title}` });
    this.plan = go(`schedules=${task.task_id}`, "Schedule", { class: "button quiet small", "aria-label": `Schedule ${title}` });
    this.buttons.append(this.start, this.plan);
    this.node.append(this.about, this.runs, this.acts.said, this.buttons);
  }

  /** The run that is under way, where it is worth following. */
  get going(): { id: string; status: string; isOwn: boolean } | null {
    const { run } = this;
    return run && isGoing(run.status) && !this.isGivenUp ? { id: run.id, status: run.status, isOwn: this.isOwn } : null;
  }

  private get isUnderWay(): boolean {
    return this.run !== null && isGoing(this.run.status);
  }

  show(task: Task): void {
    this.task = task;
    const { latest_run: line, ...about } = task;
    const shown = JSON.stringify(about);
    if (shown !== this.shown) fill(this.about, ...aboutOf(task));
    this.shown = shown;
    if (line) this.listed(line);
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

  /** What the list says may be older than what was pressed here since. */
  private listed(line: RunLine): void {
    if (this.run?.id === line.task_run_id) {
      if (this.stream === null) this.run.listed(line.status);
    } else if (!this.run || Date.parse(line.created_at) > Date.parse(this.run.createdAt)) this.attach(line, false);
  }

  private attach(line: RunLine, isOwn: boolean): TaskRunView {
    const { hub, reader, signal } = this.options;
    this.isOwn = isOwn;
    this.isGivenUp = false;
    this.run = new TaskRunView(line, { hub, reader, signal, title: this.task.title, cancel: this.cancel, changed: (run) => this.changed(run) });
    fill(this.runs, this.run.node);
    return this.run;
  }

  private async begin(): Promise<void> {
    if (this.isUnderWay) return;
    const path = `v1/tasks/${this.task.task_id}/runs`;
    const begun = await this.acts.act("run", (key) => this.options.hub.post<TaskRun>(path, undefined, key));
    if (!begun) return;
    const run = this.attach(begun.answer, true);
    run.show(begun.answer);
    run.open();
    this.settle();
    this.options.changed(`${this.task.title}: begun`);
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
    this.options.changed([`${this.task.title}: ${run.status}`, run.failure].filter(Boolean).join(". "));
  }

  /**
   * What can be pressed now. While a run goes, its task's button is not taken away but dead: it keeps the focus, and a second
   * press of a hasty hand meets nothing else.
   */
  private settle(): void {
    const going = this.isUnderWay;
    const cancelHadFocus = document.activeElement === this.cancel;
    this.buttons.hidden = !isRunnable(this.task);
    this.start.setAttribute("aria-disabled", String(going));
    this.cancel.hidden = !going;
    if (cancelHadFocus && !going) this.start.focus();
  }
}

function doerOf({ kind }: Task): string {
  return kind === OBJECTIVE ? "done by the agent" : kind ? `workflow ${kind}` : "";
}

function aboutOf(task: Task): HTMLElement[] {
  const facts = [doerOf(task), task.assignee && `for ${task.assignee}`, task.due_on && `due ${task.due_on}`, `by ${task.created_by}`];
  return [
    h("div", { class: "card-head" }, h("h2", { class: "card-title" }, task.title), stateBadge(task.status) ?? h("span")),
    ...(task.description ? [h("p", { class: "kept clamp" }, task.description)] : []),
    h("p", { class: "faint" }, facts.filter(Boolean).join(" · ")),
  ];
}
