// The frame of a view of records: its heading, and the place below it.

import { fill, h } from "../dom.ts";
import type { Hub } from "../hub.ts";

const MOST_PAGES = 10;

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

/** All that a list holds, up to a thousand. */
export async function everyItem<T>(hub: Hub, path: string, signal: AbortSignal): Promise<T[]> {
  const found: T[] = [];
  let cursor: string | null = null;
  for (let pages = 0; pages < MOST_PAGES; pages += 1) {
    const after: string = cursor === null ? "" : `&cursor=${encodeURIComponent(cursor)}`;
    const page: Page<T> = await hub.get(`${path}?limit=100${after}`, { signal });
    found.push(...page.items);
    cursor = page.next_cursor;
    if (cursor === null) break;
  }
  return found;
}
