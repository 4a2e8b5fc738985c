// A call's arguments, row by row, beside what each was in the last like call that was made.

import { cell, h, table, time } from "./dom.ts";
import { visible } from "./letters.ts";
import type { Approval, ComparedRow, Comparison } from "./wire.ts";

const CHANGES: Record<string, string> = { changed: "differs", added: "new", removed: "left out" };

/** The arguments, and what of them differs; without a like call, the arguments alone. */
export function compared(item: Approval): HTMLElement {
  const { comparison } = item;
  if (!comparison?.last || comparison.rows_left_out) return h("div", {}, table(item.arguments, "Arguments"), comparison && !comparison.last ? h("p", { class: "faint" }, "No such call was made before, as far as you may see.") : null);
  return h("div", {},
    h("table", { class: "values compared" },
      h("caption", { class: "unseen" }, "Arguments"),
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Argument"), h("th", { scope: "col" }, "This call"), h("th", { scope: "col" }, "Last time"))),
      h("tbody", {}, comparison.rows.map(row))),
    h("p", { class: "faint" }, summary(comparison), " ", time(comparison.last.made_at)));
}

function row(each: ComparedRow): HTMLElement {
  const differs = each.change !== undefined && each.change !== "same";
  const nothing = (): HTMLElement => h("span", { class: "faint" }, "–");
  return h("tr", differs ? { class: "differs" } : {},
    h("th", { scope: "row" }, visible(each.argument), differs && [" ", h("span", { class: "name" }, CHANGES[each.change ?? ""])]),
    h("td", {}, "value" in each ? cell(each.value) : nothing()),
    h("td", {}, "last_value" in each ? cell(each.last_value) : each.change === "same" ? h("span", { class: "faint" }, "the same") : nothing()));
}

function summary(comparison: Comparison): string {
  const last = comparison.last;
  const count = comparison.rows.filter((each) => each.change !== "same").length;
  const told = count === 0 ? "Nothing differs from" : count === 1 ? "One differs from" : `${count} differ from`;
  return last?.same_requester ? `${told} the last such call that they made,` : `${told} the organization’s last such call, by ${last?.made_by},`;
}
