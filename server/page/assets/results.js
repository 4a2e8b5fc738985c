// What a call gave, as a person reads it: passages as passages, a report as its figures and its table, the rest as data.

import { h, json, table } from "./dom.js";
import { placeOf } from "./words.js";

/** Nodes for a result of any tool. */
export function result(value) {
  if (isPassages(value)) return passages(value.items);
  if (isReport(value)) return report(value);
  if (isOneThing(value)) return table(Object.values(value)[0], Object.keys(value)[0]);
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return table(value, "Result");
  return h("pre", { class: "small", tabIndex: 0 }, json(value));
}

function isOneThing(value) {
  const things = Object.values(value ?? {});
  return things.length === 1 && things[0] !== null && typeof things[0] === "object" && !Array.isArray(things[0]);
}

function isPassages(value) {
  return Array.isArray(value?.items) && value.items.length > 0 && value.items.every((item) => typeof item?.text === "string" && typeof item.title === "string");
}

function passages(items) {
  return h("ol", { class: "passages" }, items.map((item) => h("li", {},
    h("strong", {}, item.title), " ", h("span", { class: "faint" }, placeOf(item)),
    h("p", { class: "clamp" }, item.text))));
}

function isReport(value) {
  return Array.isArray(value?.headline) && Array.isArray(value.table?.columns) && Array.isArray(value.table.rows);
}

function report(value) {
  return h("div", { class: "report" },
    typeof value.summary === "string" && h("p", {}, value.summary),
    h("dl", { class: "figures" }, value.headline.map((figure) => h("div", {},
      h("dt", {}, String(figure.label)), h("dd", {}, [figure.value, figure.unit].filter((part) => part !== undefined && part !== null).join(" "))))),
    h("div", { class: "scroll", tabIndex: 0, role: "region", "aria-label": "Report" }, h("table", { class: "grid" },
      h("thead", {}, h("tr", {}, value.table.columns.map((name) => h("th", { scope: "col" }, String(name))))),
      h("tbody", {}, value.table.rows.map((row) => h("tr", {}, row.map((cell) => h("td", {}, cell === null ? "–" : String(cell)))))))));
}
