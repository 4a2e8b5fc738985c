// What a call gave, as a person reads it: passages as passages, a report as its figures and its table, the rest as data.

import { h, json, table } from "./dom.ts";
import { placeOf } from "./words.ts";

interface Passage {
  title: string;
  text: string;
  page?: number;
  section?: string;
}

interface Report {
  summary?: unknown;
  headline: { label: unknown; value: unknown; unit?: unknown }[];
  table: { columns: unknown[]; rows: unknown[][] };
}

/** Nodes for a result of any tool. */
export function result(value: unknown): HTMLElement {
  if (isPassages(value)) return passages(value.items);
  if (isReport(value)) return report(value);
  const thing = oneThing(value);
  if (thing) return table(thing[1], thing[0], true);
  if (isRecord(value)) return table(value, "Result", true);
  return h("pre", { class: "small", tabIndex: 0 }, json(value));
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function oneThing(value: unknown): [string, Record<string, unknown>] | null {
  const [first, ...more] = isRecord(value) ? Object.entries(value) : [];
  return first && !more.length && isRecord(first[1]) ? [first[0], first[1]] : null;
}

function isPassages(value: unknown): value is { items: Passage[] } {
  return isRecord(value) && Array.isArray(value.items) && value.items.length > 0 && value.items.every(
    (item) => isRecord(item) && typeof item.text === "string" && typeof item.title === "string");
}

function passages(items: Passage[]): HTMLElement {
  return h("ol", { class: "passages" }, items.map((item) => h("li", {},
    h("strong", {}, item.title), " ", h("span", { class: "faint" }, placeOf(item)),
    h("p", { class: "clamp" }, item.text))));
}

function isReport(value: unknown): value is Report {
  if (!isRecord(value) || !Array.isArray(value.headline) || !isRecord(value.table)) return false;
  return Array.isArray(value.table.columns) && Array.isArray(value.table.rows) && value.table.rows.every(Array.isArray);
}

function report(value: Report): HTMLElement {
  return h("div", { class: "report" },
    typeof value.summary === "string" && h("p", {}, value.summary),
    h("dl", { class: "figures" }, value.headline.map((figure) => h("div", {},
      h("dt", {}, String(figure.label)), h("dd", {}, [figure.value, figure.unit].filter((part) => part !== undefined && part !== null).join(" "))))),
    h("div", { class: "scroll", tabIndex: 0, role: "region", "aria-label": "Report" }, h("table", { class: "grid" },
      h("thead", {}, h("tr", {}, value.table.columns.map((name) => h("th", { scope: "col" }, String(name))))),
      h("tbody", {}, value.table.rows.map((row) => h("tr", {}, row.map((each) => h("td", {}, each === null ? "–" : String(each)))))))));
}
