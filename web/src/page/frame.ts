// The frame of a view of records: its heading, and the place below it.

import { fill, h } from "../dom.ts";

export function frame(main: HTMLElement, title: string, words: string | null): HTMLElement {
  const place = h("div", { class: "records" }, h("p", { class: "faint", role: "status" }, "Loading…"));
  fill(main, h("header", { class: "bar" }, h("h1", { tabIndex: -1 }, title)),
    h("div", { class: "scroller", tabIndex: 0, role: "region", "aria-label": title }, h("div", { class: "wide" }, words && h("p", { class: "lead" }, words), place)));
  return place;
}

export interface Page<T> {
  items: T[];
  next_cursor: string | null;
}
