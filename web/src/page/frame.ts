// The frame of a view of records: its heading, the place below it, and the lists that are read into it.

import { fill, h } from "../dom.ts";
import { isAbort, pause, wordsOf, type Hub } from "../hub.ts";

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

/** The address of a list's page of a hundred; `cursor`: of the one behind it. */
export function pagePath(path: string, cursor: string | null): string {
  const after = cursor === null ? "" : `&cursor=${encodeURIComponent(cursor)}`;
  return `${path}${path.includes("?") ? "&" : "?"}limit=100${after}`;
}

/** All that a list holds, up to a thousand. */
export async function everyItem<T>(hub: Hub, path: string, signal: AbortSignal): Promise<T[]> {
  const found: T[] = [];
  let cursor: string | null = null;
  for (let pages = 0; pages < MOST_PAGES; pages += 1) {
    const page: Page<T> = await hub.get(pagePath(path, cursor), { signal });
    found.push(...page.items);
    cursor = page.next_cursor;
    if (cursor === null) break;
  }
  return found;
}

interface Watching {
  /** The milliseconds until it is read again. */
  every: () => number;
  signal: AbortSignal;
  /** Where it stands that it cannot be read. */
  lost: HTMLElement;
}

/** Reads a list again and again as long as its view is shown: what stands there comes and goes without a press here. */
export async function watch(load: () => Promise<void>, { every, signal, lost }: Watching): Promise<void> {
  while (!signal.aborted) {
    try {
      await pause(every(), signal);
      if (!document.hidden) await load();
      fill(lost);
    } catch (fault) {
      if (isAbort(fault)) return;
      const words = `${wordsOf(fault)} Trying again…`;
      // What is filled in anew is read out anew.
      if (lost.textContent !== words) fill(lost, words);
    }
  }
}
