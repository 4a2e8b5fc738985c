// The records behind the conversation: what was called, which tasks there are, which documents are known.

import { get, pause, upload } from "./api.js";
import { frame } from "./approvals.js";
import { button, fill, h, stateBadge, table, time } from "./dom.js";
import { result } from "./results.js";
import { reasonList, roleName, toolName } from "./words.js";

const POLL_MS = 1500;

/** Every call there is to see, newest first, each with its decision and what became of it. */
export async function showActivity(main) {
  const place = frame(main, "Activity", "Every call from every door, allowed or refused.");
  const body = h("tbody");
  const more = button("Show older", () => load(more.dataset.cursor), { kind: "quiet", hidden: true });
  async function load(cursor) {
    const page = await get(`v1/activity?limit=50${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""}`);
    body.append(...page.items.flatMap(activityRows));
    more.hidden = !page.next_cursor;
    more.dataset.cursor = page.next_cursor ?? "";
    return page.items.length;
  }
  if (!(await load())) return fill(place, empty("Nothing has been called yet. Ask something, and it stands here."));
  fill(place, h("div", { class: "scroll" }, h("table", { class: "ledger calls" },
    h("caption", { class: "unseen" }, "Calls, newest first"),
    h("thead", {}, h("tr", {}, ["Time", "Tool", "Who", "Door", "Decision", "Outcome", ""].map((name) => h("th", { scope: "col" }, name || h("span", { class: "unseen" }, "Details"))))),
    body)), more);
}

function activityRows(item) {
  const details = h("tr", { class: "details", hidden: true }, h("td", { colspan: 7 }));
  const toggle = h("button", { type: "button", class: "button quiet small", "aria-expanded": "false" }, "Details");
  toggle.addEventListener("click", async () => {
    details.hidden = !details.hidden;
    toggle.setAttribute("aria-expanded", String(!details.hidden));
    if (!details.hidden) fill(details.firstElementChild, await activityDetails(item));
  });
  const row = h("tr", {}, h("td", { class: "moment" }, time(item.time, { seconds: true })), h("td", { class: "titled" }, toolName(item.tool)),
    h("td", { class: "titled" }, item.principal, item.mode === "agent" && h("span", { class: "name" }, "through the agent")), h("td", {}, item.door),
    h("td", {}, stateBadge(item.decision)), h("td", {}, stateBadge(item.outcome)), h("td", {}, toggle));
  return [row, details];
}

async function activityDetails(item) {
  try {
    const call = await get(`v1/activity/${item.call_id}`);
    return [
      h("h4", {}, "Reasons"), reasonList(call.reasons),
      h("h4", {}, "Arguments"), typeof call.arguments === "object" ? table(call.arguments, "Arguments") : h("p", { class: "kept" }, call.arguments ?? "–"),
      call.result !== undefined && [h("h4", {}, "Result"), result(call.result)],
      call.error_code && h("p", {}, "Error ", h("code", {}, call.error_code)),
      h("p", { class: "faint mono small" }, `call ${call.call_id} · ${roleName(call.role) || "no role"} · ${call.duration_ms ?? "–"} ms`),
    ];
  } catch (fault) {
    return h("p", { class: "error" }, fault.message);
  }
}

/** Tasks with what their newest run is doing; runs that are under way are looked at until they end. */
export async function showTasks(main, signal) {
  const place = frame(main, "Tasks", "Work for people, and for workflows that run in the background.");
  for (;;) {
    const { items } = await get("v1/tasks?limit=100", { signal });
    if (!items.length) return fill(place, empty("There are no tasks yet. Try “Create a task to refresh the analytics”."));
    const open = openedIn(place);
    fill(place, h("ul", { class: "cards" }, items.map((item) => taskCard(item, open.has(item.task_id)))));
    if (!items.some((item) => ["queued", "running"].includes(item.latest_run?.status))) return;
    await pause(POLL_MS, signal);
  }
}

function openedIn(place) {
  return new Set([...place.querySelectorAll("details[open]")].map((each) => each.dataset.task));
}

function taskCard(task, open) {
  const steps = h("div");
  const run = task.latest_run;
  const details = run && h("details", { "data-task": task.task_id, open },
    h("summary", {}, "Latest run ", stateBadge(run.status), " ", time(run.created_at)), steps);
  if (details) {
    const look = () => details.open && showRun(steps, run.task_run_id);
    details.addEventListener("toggle", look);
    look();
  }
  return h("li", { class: "card" },
    h("div", { class: "card-head" }, h("h2", { class: "card-title" }, task.title), stateBadge(task.status)),
    task.description && h("p", { class: "kept clamp" }, task.description),
    h("p", { class: "faint" }, [task.kind && `workflow ${task.kind}`, task.assignee && `for ${task.assignee}`, task.due_on && `due ${task.due_on}`, `by ${task.created_by}`].filter(Boolean).join(" · ")),
    details);
}

async function showRun(place, id) {
  try {
    const run = await get(`v1/task-runs/${id}`);
    fill(place,
      run.message && h("p", { class: "kept" }, run.message), run.failure && h("p", { class: "error kept" }, run.failure),
      h("ol", { class: "steps" }, run.steps.map((step) => h("li", {}, step.name, " ", h("code", {}, step.tool), " ", stateBadge(step.status)))));
  } catch (fault) {
    fill(place, h("p", { class: "error" }, fault.message));
  }
}

/** What the firm's agent can read, and a place to drop more. */
export async function showDocuments(main, signal) {
  const place = frame(main, "Documents", "What answers are drawn from, and cite.");
  const list = h("div");
  const said = h("div", { role: "status" });
  fill(place, dropZone(said, () => refresh(list, signal)), said, list);
  await refresh(list, signal);
}

async function refresh(list, signal) {
  for (;;) {
    const { items } = await get("v1/knowledge/documents?limit=100", { signal });
    fill(list, items.length ? documentTable(items) : empty("No documents yet. Drop text, Markdown, HTML or PDF files above."));
    if (!items.some((item) => ["queued", "parsing", "embedding"].includes(item.status))) return;
    await pause(POLL_MS, signal);
  }
}

function documentTable(items) {
  return h("div", { class: "scroll" }, h("table", { class: "ledger" }, h("caption", { class: "unseen" }, "Documents"),
    h("thead", {}, h("tr", {}, ["Title", "State", "For", "Added"].map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, items.map((item) => h("tr", {},
      h("td", {}, item.title, item.failure && h("p", { class: "error" }, item.failure)),
      h("td", {}, stateBadge(item.status)), h("td", {}, item.audience ?? ""), h("td", {}, time(item.created_at)))))));
}

function dropZone(said, done) {
  const input = h("input", { type: "file", id: "files", multiple: true, class: "unseen", accept: ".txt,.md,.markdown,.html,.htm,.csv,.tsv,.pdf,.docx,.docm,.xlsx,.xlsm" });
  const zone = h("div", { class: "drop" }, h("label", { for: "files" }, h("strong", {}, "Add documents"), h("span", {}, "Drop files here, or choose them. Text, Markdown, HTML or PDF.")), input);
  const take = async (files) => {
    if (!files.length) return;
    fill(said, h("p", { class: "faint" }, `Uploading ${files.length === 1 ? files[0].name : `${files.length} files`}…`));
    try {
      await upload("v1/knowledge/documents", files);
      fill(said, h("p", { class: "faint" }, "Taken in; they can be searched as soon as they are ready."));
      await done();
    } catch (fault) {
      if (fault.name !== "AbortError") fill(said, h("p", { class: "error", role: "alert" }, fault.message));
    }
  };
  input.addEventListener("change", () => take([...input.files]).then(() => { input.value = ""; }));
  zone.addEventListener("dragover", (event) => { event.preventDefault(); zone.classList.add("over"); });
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    take([...event.dataTransfer.files]);
  });
  return zone;
}

function empty(words) {
  return h("p", { class: "empty" }, words);
}
