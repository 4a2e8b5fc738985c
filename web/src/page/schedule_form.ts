// Sets a schedule up: which task, how often and at what time, on which clock; what comes of the choices is said below them.

import { fill, h } from "../dom.ts";
import type { Hub } from "../hub.ts";
import { Acts } from "./acts.ts";
import { cronOf, cronWords, type Choice } from "./cron.ts";
import { everyItem } from "./frame.ts";
import type { Schedule } from "./schedules.ts";
import { isRunnable, type Task } from "./tasks.ts";
import { ownZone, zones } from "./zones.ts";

type Option = readonly [value: string, label: string];

const OFTEN: readonly Option[] = [
  ["workdays", "Monday to Friday"], ["daily", "Every day"], ["weekly", "Every week"], ["monthly", "Every month"], ["cron", "By a cron expression"],
];
const WEEKDAYS: readonly Option[] = [
  ["MON", "Monday"], ["TUE", "Tuesday"], ["WED", "Wednesday"], ["THU", "Thursday"], ["FRI", "Friday"], ["SAT", "Saturday"], ["SUN", "Sunday"],
];
const DAYS: readonly Option[] = [
  ...Array.from({ length: 28 }, (_, day): Option => [String(day + 1), String(day + 1)]), ["L", "the last"],
];

interface FormOptions {
  hub: Hub;
  signal: AbortSignal;
  /** The task that is chosen to begin with. */
  task: string | null;
  /** Another one is asked for. */
  asking: () => void;
  created: (schedule: Schedule) => Promise<void>;
}

/** The form, with the tasks that can be run. */
export async function scheduleForm({ hub, signal, task, asking, created }: FormOptions): Promise<HTMLElement> {
  const tasks = (await everyItem<Task>(hub, "v1/tasks", signal)).filter(isRunnable);
  if (!tasks.length) return h("p", { class: "empty" }, "There is no task that can be run yet. Try “Create a task to refresh the analytics” in a chat.");
  const acts = new Acts();
  const fields = new Fields(tasks, task);
  const submit = async (event: Event): Promise<void> => {
    event.preventDefault();
    asking();
    const asked = fields.asked();
    const done = await acts.act(JSON.stringify(asked), (key) => hub.post<Schedule>("v1/schedules", asked, key));
    fields.mark(acts.said.textContent);
    if (done) await created(done.answer);
  };
  return h("form", { class: "sheet schedule-form", on: { submit: (event: Event) => void submit(event) } },
    h("h2", {}, "New schedule"), fields.node, acts.said,
    h("div", { class: "buttons" }, h("button", { type: "submit", class: "button primary" }, "Create schedule")));
}

class Fields {
  readonly node: HTMLElement;
  private readonly task: HTMLSelectElement;
  private readonly often = select("often", OFTEN, "workdays");
  private readonly weekday = select("weekday", WEEKDAYS, "MON");
  private readonly day = select("day", DAYS, "1");
  private readonly at = h("input", { id: "schedule-at", type: "time", value: "07:00", required: true });
  private readonly cron = h("input", { id: "schedule-cron", type: "text", value: "0 7 * * MON-FRI", maxlength: 200, required: true, autocomplete: "off", spellcheck: "false", class: "mono" });
  private readonly zone = select("zone", zones().map((name) => [name, name.replaceAll("_", " ")] as const), ownZone());
  private readonly outcome = h("p", { class: "outcome faint", role: "status" });
  private readonly rows: Record<"weekday" | "day" | "at" | "cron", HTMLElement>;

  constructor(tasks: readonly Task[], chosen: string | null) {
    this.task = select("task", tasks.map((each) => [each.task_id, each.title] as const), chosen ?? "");
    this.rows = {
      weekday: row("On", this.weekday), day: row("On day", this.day), at: row("At", this.at), cron: row("Cron expression", this.cron),
    };
    this.node = h("div", { class: "schedule-fields", on: { input: () => this.settle() } },
      row("Task", this.task), row("How often", this.often), this.rows.weekday, this.rows.day, this.rows.at, this.rows.cron,
      row("Time zone", this.zone), this.outcome);
    this.settle();
  }

  asked(): { task_id: string; cron: string; time_zone: string } {
    return { task_id: this.task.value, cron: cronOf(this.choice), time_zone: this.zone.value };
  }

  /** Marks the field that a refusal names, and goes there. */
  mark(refusal: string): void {
    const named: Record<string, HTMLElement> = { cron: this.cron, time_zone: this.zone, task_id: this.task };
    for (const [name, field] of Object.entries(named)) {
      const isMeant = refusal.startsWith(`${name}:`);
      field.setAttribute("aria-invalid", String(isMeant));
      if (isMeant) field.focus();
    }
  }

  private get choice(): Choice {
    return { often: this.often.value as Choice["often"], at: this.at.value, weekday: this.weekday.value, day: this.day.value, cron: this.cron.value };
  }

  /** Shows the fields that the choice takes, and what it comes to. */
  private settle(): void {
    const { choice } = this;
    const { often } = choice;
    this.rows.weekday.hidden = often !== "weekly";
    this.rows.day.hidden = often !== "monthly";
    this.rows.at.hidden = often === "cron";
    this.rows.cron.hidden = often !== "cron";
    this.at.disabled = often === "cron";
    this.cron.disabled = often !== "cron";
    const cron = cronOf(choice);
    // So that whoever turns to the expression begins with what was chosen.
    if (often !== "cron") this.cron.value = cron;
    fill(this.outcome, cronWords(cron) ?? "Five fields: minute, hour, day of the month, month, day of the week", " ", h("code", {}, cron));
  }
}

function row(label: string, field: HTMLElement): HTMLElement {
  return h("div", { class: "schedule-field" }, h("label", { for: field.id }, label), field);
}

function select(name: string, options: readonly Option[], chosen: string): HTMLSelectElement {
  const node = h("select", { id: `schedule-${name}` }, options.map(([value, label]) => h("option", { value }, label)));
  node.value = chosen;
  if (node.selectedIndex < 0) node.selectedIndex = 0;
  return node;
}
