// Changes a source: what it is called, and how much of a site is read. When it is synced its schedules say.

import { h } from "../dom.ts";
import type { Hub } from "../hub.ts";
import { Acts } from "./acts.ts";
import { mark, row } from "./fields.ts";
import type { Source } from "./sources.ts";

interface ChangeOptions {
  hub: Hub;
  source: Source;
  changed: (words: string) => void;
}

/** Closed until somebody opens it; a change that is made closes it. */
export function changeForm({ hub, source, changed }: ChangeOptions): HTMLDetailsElement {
  const acts = new Acts();
  const { source_id, kind, settings } = source;
  const input = (name: string, value: unknown, options: Record<string, string | number | boolean> = {}): HTMLInputElement =>
    h("input", { id: `${name}-${source_id}`, type: "text", autocomplete: "off", spellcheck: "false", maxlength: 300, value: String(value ?? ""), required: true, ...options });
  const name = input("name", source.name, { maxlength: 120 });
  const bounds = kind === "web" ? { path: input("path", settings.path), pages: input("pages", settings.pages, { type: "number" }), depth: input("depth", settings.depth, { type: "number" }) } : null;
  const asked = (): Record<string, unknown> => ({
    name: name.value.trim(),
    ...(bounds ? { settings: { path: bounds.path.value.trim(), pages: Number(bounds.pages.value), depth: Number(bounds.depth.value) } } : {}),
  });
  const submit = async (event: Event): Promise<void> => {
    event.preventDefault();
    const wanted = asked();
    const done = await acts.act(JSON.stringify(wanted), (key) => hub.change<Source>("PATCH", `v1/knowledge/sources/${source_id}`, wanted, key));
    mark({ name, ...bounds }, acts.said.textContent ?? "");
    if (!done) return;
    node.open = false;
    changed("Changed. What it reads no more goes with the next sync.");
  };
  const rows = bounds ? [row("Only paths that begin with", bounds.path), row("Pages at most", bounds.pages), row("Links from a first page at most", bounds.depth)] : [];
  const node = h("details", { class: "changing" }, h("summary", {}, "Change it"),
    h("form", { class: "schedule-form", "aria-label": `Change ${source.name}`, on: { submit: (event: Event) => void submit(event) } },
      h("div", { class: "schedule-fields" }, row("Called", name), rows), acts.said,
      h("div", { class: "buttons" }, h("button", { type: "submit", class: "button small" }, "Save"))));
  return node;
}
