// Schedules: which tasks are run at set times, when each is due next, and how it went last.

import { badge, button, fill, go, h, stateBadge } from "../dom.ts";
import type { Hub } from "../hub.ts";
import { visible } from "../letters.ts";
import { Acts } from "./acts.ts";
import { Cards } from "./cards.ts";
import { cronWords } from "./cron.ts";
import { everyItem, frame, watch } from "./frame.ts";
import { scheduleForm } from "./schedule_form.ts";
import { clocks } from "./zones.ts";

const PATH = "v1/schedules";
const EVERY_MS = 15_000;
const WORDS = "Tasks that are run at set times, with nobody waiting for them and as the firm’s service account. A manager, or above, sets them up.";

export interface Schedule {
  schedule_id: string;
  task_id: string;
  title: string;
  kind?: string;
  task_status: string;
  cron: string;
  time_zone: string;
  paused: boolean;
  next_run_at: string | null;
  created_by: string;
  last_run?: LastRun;
}

interface LastRun {
  due_at: string;
  missed: number;
  outcome?: string;
  error_code?: string;
  task_run_status?: string;
}

/** The schedules; `task` is the one for which the form is filled in. */
export async function showSchedules(hub: Hub, main: HTMLElement, signal: AbortSignal, task: string | null): Promise<void> {
  const place = frame(main, "Schedules", WORDS);
  const said = h("p", { class: "said-of-it faint", role: "status" });
  const lost = h("p", { class: "error", role: "alert" });
  const none = h("p", { class: "empty", hidden: true }, "Nothing is scheduled.");
  const gone = (id: string, words: string): void => {
    cards.remove(id);
    none.hidden = cards.all.length > 0;
    fill(said, words);
  };
  const cards = new Cards<Schedule, ScheduleCard>((item) => item.schedule_id, (item) => new ScheduleCard(item, { hub, said, gone }));

  async function load(): Promise<void> {
    const items = await everyItem<Schedule>(hub, PATH, signal);
    cards.show(items);
    none.hidden = items.length > 0;
  }

  async function created(schedule: Schedule): Promise<void> {
    const { there } = clocks(schedule.next_run_at ?? "", schedule.time_zone);
    fill(said, `Scheduled: ${visible(schedule.title)}. Next run ${there} (${schedule.time_zone}).`);
    await load().catch(() => undefined);
  }

  const [form] = await Promise.all([scheduleForm({ hub, signal, task, asking: () => fill(said), created }), load()]);
  fill(place, form, said, lost, h("section", {}, h("h2", {}, "Schedules"), none, cards.node));
  void watch(load, { every: () => EVERY_MS, signal, lost });
}

interface ScheduleCardOptions {
  hub: Hub;
  said: HTMLElement;
  /** The schedule is no more. */
  gone: (id: string, words: string) => void;
}

class ScheduleCard {
  readonly node = h("li", { class: "card" });
  private readonly about = h("div", { class: "card-about" });
  private readonly buttons = h("div", { class: "buttons" });
  private readonly acts = new Acts();
  private shown = "";

  constructor(private schedule: Schedule, private readonly options: ScheduleCardOptions) {
    this.node.append(this.about, this.acts.said, this.buttons);
    this.offer();
  }

  private get path(): string {
    return `${PATH}/${this.schedule.schedule_id}`;
  }

  show(schedule: Schedule): void {
    const shown = JSON.stringify(schedule);
    if (shown === this.shown) return;
    const wasPaused = this.schedule.paused;
    this.schedule = schedule;
    this.shown = shown;
    fill(this.about, ...aboutOf(schedule));
    if (wasPaused !== schedule.paused) this.offer();
  }

  /** What can be done; the focus stays among the buttons. */
  private offer(): void {
    const { title, paused } = this.schedule;
    this.replace(
      button(paused ? "Resume" : "Pause", () => this.pause(), { kind: "small", "aria-label": `${paused ? "Resume" : "Pause"} the schedule of ${title}` }),
      button("Delete", () => this.ask(), { kind: "quiet small", "aria-label": `Delete the schedule of ${title}` }));
  }

  /** What is deleted is not to be had back: it takes a second press. */
  private ask(): void {
    const keep = button("Keep", () => this.offer(), { kind: "small" });
    this.replace(keep, button("Delete for good", () => this.remove(), { kind: "danger small" }));
    keep.focus();
  }

  private replace(...buttons: HTMLElement[]): void {
    const hadFocus = this.buttons.contains(document.activeElement);
    fill(this.buttons, ...buttons);
    if (hadFocus) buttons[0]?.focus();
  }

  private async pause(): Promise<void> {
    const paused = !this.schedule.paused;
    const changed = await this.acts.act(`paused ${paused}`, (key) => this.options.hub.change<Schedule>("PATCH", this.path, { paused }, key));
    if (!changed) return;
    this.show(changed.answer);
    fill(this.options.said, paused ? `Paused: ${visible(this.schedule.title)}.` : `Goes on: ${visible(this.schedule.title)}.`);
  }

  private async remove(): Promise<void> {
    const removed = await this.acts.act("delete", (key) => this.options.hub.change<undefined>("DELETE", this.path, undefined, key));
    if (removed) this.options.gone(this.schedule.schedule_id, `Deleted: ${visible(this.schedule.title)}. What it has started goes on.`);
    else this.offer();
  }
}

function aboutOf(schedule: Schedule): HTMLElement[] {
  const { cron, time_zone, last_run } = schedule;
  const words = cronWords(cron);
  return [
    h("div", { class: "card-head" }, h("h2", { class: "card-title" }, visible(schedule.title)), schedule.paused ? badge("paused", "warn") : badge("active", "good")),
    h("dl", { class: "facts" },
      fact("When", words && `${words}, ${time_zone} `, h("code", {}, cron), words ? null : ` ${time_zone}`),
      fact("Next run", next(schedule)),
      last_run ? fact("Last run", ...last(last_run, time_zone)) : null,
      fact("Set up by", schedule.created_by)),
    ...(schedule.task_status === "cancelled" ? [h("p", { class: "error" }, "Its task was cancelled: nothing is run.")] : []),
  ];
}

function next({ next_run_at, time_zone, paused }: Schedule): Node[] | string {
  if (next_run_at === null) return paused ? "none while it is paused" : "none";
  const { there, here } = clocks(next_run_at, time_zone);
  const moment = h("time", { datetime: next_run_at, class: "next-run" }, there);
  return here === null ? [moment] : [moment, h("span", { class: "faint" }, ` in ${time_zone}; where you are ${here}`)];
}

/** How it went when it was due last; a call that made nothing says why. */
function last(run: LastRun, zone: string): (Node | string | null)[] {
  const state = run.task_run_status ?? run.outcome;
  return [
    clocks(run.due_at, zone).there, " ", stateBadge(state), " ",
    run.outcome === "waiting" ? go("approvals", "see what waits") : run.task_run_status ? go("tasks", "see the task") : null,
    run.error_code ? h("span", { class: "error" }, ` Nothing was started: ${run.error_code.replaceAll("_", " ")}.`) : null,
    run.missed ? h("span", { class: "faint" }, ` ${run.missed} due before it ${run.missed === 1 ? "was" : "were"} left out.`) : null,
  ];
}

function fact(name: string, ...value: (Node | Node[] | string | null)[]): HTMLElement[] {
  return [h("dt", {}, name), h("dd", {}, ...value)];
}
