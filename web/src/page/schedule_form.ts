// Sets a schedule up: which task, and when it is run.

import { h } from "../dom.ts";
import type { Hub } from "../hub.ts";
import { Acts } from "./acts.ts";
import { mark, row, select } from "./fields.ts";
import { everyItem } from "./frame.ts";
import type { Schedule } from "./schedules.ts";
import { isRunnable, type Task } from "./tasks.ts";
import { Times } from "./times.ts";

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
  const chosen = select("schedule-task", tasks.map((each) => [each.task_id, each.title] as const), task ?? "");
  const times = new Times();
  const submit = async (event: Event): Promise<void> => {
    event.preventDefault();
    asking();
    const asked = { task_id: chosen.value, ...times.asked() };
    const done = await acts.act(JSON.stringify(asked), (key) => hub.post<Schedule>("v1/schedules", asked, key));
    mark({ ...times.named, task_id: chosen }, acts.said.textContent ?? "");
    if (done) await created(done.answer);
  };
  return h("form", { class: "sheet schedule-form", on: { submit: (event: Event) => void submit(event) } },
    h("h2", {}, "New schedule"), h("div", { class: "schedule-fields" }, row("Task", chosen), times.node), acts.said,
    h("div", { class: "buttons" }, h("button", { type: "submit", class: "button primary" }, "Create schedule")));
}
