// The fields of a form, each with its label, and the one that a refusal names.

import { h } from "../dom.ts";

export type Option = readonly [value: string, label: string];

/** A field below its label. */
export function row(label: string, field: HTMLElement): HTMLElement {
  return h("div", { class: "schedule-field" }, h("label", { for: field.id }, label), field);
}

/** A choice; the first where there is no such option as the chosen one. */
export function select(id: string, options: readonly Option[], chosen = ""): HTMLSelectElement {
  const node = h("select", { id }, options.map(([value, label]) => h("option", { value }, label)));
  node.value = chosen;
  if (node.selectedIndex < 0) node.selectedIndex = 0;
  return node;
}

/** Marks the field that a refusal begins with, and goes there. */
export function mark(fields: Readonly<Record<string, HTMLElement>>, refusal: string): void {
  for (const [name, field] of Object.entries(fields)) {
    const isMeant = refusal.startsWith(name) && !/^\w/.test(refusal.slice(name.length));
    field.setAttribute("aria-invalid", String(isMeant));
    if (isMeant) field.focus();
  }
}
