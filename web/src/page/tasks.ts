// Tasks, each with what its newest run is doing: begun and cancelled here, and followed as it goes.

import { button, fill, go, h, stateBadge } from "../dom.ts";
import { isAbort, wordsOf, type Hub } from "../hub.ts";
import { Cards } from "./cards.ts";
import { frame, pagePath, watch, type Page } from "./frame.ts";
import { following, LatestRun } from "./latest_run.ts";
import type { RunLine } from "./task_run.ts";

const PATH = "v1/tasks";
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
  /** Follows what goes now, and no more of it than can be. */
  private readonly arrange: () => void;
  private readonly said = h("p", { class: "unseen", role: "status" });
  private readonly lost = h("p", { class: "error", role: "alert" });
  private readonly none = h("p", { class: "empty", hidden: true }, "There are no tasks yet. Try “Create a task to refresh the analytics”.");
  private readonly older = button("Show older", () => this.loadOlder(), { kind: "quiet", hidden: true });
  private next: string | null = null;
  private hasOlder = false;

  constructor(private readonly hub: Hub, private readonly signal: AbortSignal, reader: string) {
    this.arrange = following(() => this.cards.all.map((card) => card.run), signal);
    const changed = (words: string): void => {
      fill(this.said, words);
      this.arrange();
    };
    this.cards = new Cards((task) => task.task_id, (task) => new TaskCard(task, { hub, signal, reader, changed }));
    this.node = h("div", {}, this.said, this.lost, this.none, this.cards.node, this.older);
  }

  async load(): Promise<void> {
    const { items, next_cursor } = await this.hub.get<Page<Task>>(pagePath(PATH, null), { signal: this.signal });
    this.cards.show(items, this.hasOlder);
    if (!this.hasOlder) this.next = next_cursor;
    this.settle();
  }

  /** Looks at the list again and again, for what streams do not tell of. */
  watch(): Promise<void> {
    const every = (): number => (this.cards.all.some((card) => card.run.going) ? EVERY_MS : SELDOM_MS);
    return watch(() => this.load(), { every, signal: this.signal, lost: this.lost });
  }

  private async loadOlder(): Promise<void> {
    if (this.next === null) return;
    try {
      const { items, next_cursor } = await this.hub.get<Page<Task>>(pagePath(PATH, this.next), { signal: this.signal });
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
  readonly run: LatestRun;
  private readonly about = h("div", { class: "card-about" });
  private readonly buttons: HTMLElement;
  private shown = "";

  constructor({ task_id, title }: Task, options: TaskCardOptions) {
    this.run = new LatestRun({ ...options, title, label: "Run", path: `v1/tasks/${task_id}/runs`, mayCancel: true });
    this.buttons = h("div", { class: "buttons" }, this.run.start,
      go(`schedules=${task_id}`, "Schedule", { class: "button quiet small", "aria-label": `Schedule ${title}` }));
    this.node.append(this.about, this.run.node, this.run.acts.said, this.buttons);
  }

  show(task: Task): void {
    const { latest_run: line, ...about } = task;
    const shown = JSON.stringify(about);
    if (shown !== this.shown) fill(this.about, ...aboutOf(task));
    this.shown = shown;
    this.run.listed(line);
    this.buttons.hidden = !isRunnable(task);
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
