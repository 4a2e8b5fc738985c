// The titles of tools, learned once from the server, beside the names by which every door and the record know them.

import { h } from "./dom.js";

export const titles = new Map();

/** A tool's title and name; a tool without a title is its name. */
export function toolName(tool) {
  const title = titles.get(tool);
  return title
    ? [h("span", { class: "tool" }, title), h("span", { class: "name mono" }, tool)]
    : h("span", { class: "tool mono" }, tool);
}
