// A table of things that come by the hundred, newest first; a row stays as long as its thing is listed, with what is open in it.

import { button, fill, h } from "../dom.ts";
import { isAbort, wordsOf, type Hub } from "../hub.ts";
import { Cards, type Card } from "./cards.ts";
import { pagePath, type Page } from "./frame.ts";
import { heads } from "./records.ts";

interface ListingOptions<T> {
  hub: Hub;
  signal: AbortSignal;
  path: string;
  caption: string;
  columns: readonly (string | HTMLElement)[];
  /** What is said where there is nothing. */
  none: string;
  idOf: (item: T) => string;
  row: (item: T) => Card<T>;
}

export class Listing<T> {
  readonly node: HTMLElement;
  /** As they were read last. */
  items: readonly T[] = [];
  private readonly rows: Cards<T, Card<T>>;
  private readonly table: HTMLElement;
  private readonly none: HTMLElement;
  private readonly older = button("Show older", () => this.loadOlder(), { kind: "quiet", hidden: true });
  private readonly fault = h("p", { class: "error", role: "alert" });
  private next: string | null = null;
  private hasOlder = false;

  constructor(private readonly options: ListingOptions<T>) {
    const { caption, columns, none, idOf, row } = options;
    this.rows = new Cards<T, Card<T>>(idOf, row, h("tbody"));
    this.none = h("p", { class: "empty", hidden: true }, none);
    this.table = h("div", { class: "scroll" },
      h("table", { class: "ledger" }, h("caption", { class: "unseen" }, caption), heads(columns), this.rows.node));
    this.node = h("div", {}, this.none, this.table, this.older, this.fault);
  }

  /** Reads the newest, and gives the answer whole: a list may say more than its items. */
  async load<P extends Page<T>>(): Promise<P> {
    const page = await this.ask<P>(null);
    this.rows.show(page.items, this.hasOlder);
    this.items = this.hasOlder ? [...page.items, ...this.without(page.items.map(this.options.idOf))] : page.items;
    if (!this.hasOlder) this.next = page.next_cursor;
    this.settle();
    return page;
  }

  remove(id: string): void {
    this.rows.remove(id);
    this.items = this.without([id]);
    this.settle();
  }

  private async loadOlder(): Promise<void> {
    if (this.next === null) return;
    try {
      const { items, next_cursor } = await this.ask(this.next);
      this.hasOlder = true;
      this.rows.append(items);
      this.items = [...this.without(items.map(this.options.idOf)), ...items];
      this.next = next_cursor;
      fill(this.fault);
      this.settle();
    } catch (fault) {
      if (!isAbort(fault)) fill(this.fault, wordsOf(fault));
    }
  }

  private ask<P extends Page<T>>(cursor: string | null): Promise<P> {
    const { hub, path, signal } = this.options;
    return hub.get<P>(pagePath(path, cursor), { signal });
  }

  private without(ids: readonly string[]): T[] {
    const gone = new Set(ids);
    return this.items.filter((item) => !gone.has(this.options.idOf(item)));
  }

  private settle(): void {
    this.older.hidden = this.next === null;
    this.table.hidden = !this.items.length;
    this.none.hidden = this.items.length > 0;
  }
}
