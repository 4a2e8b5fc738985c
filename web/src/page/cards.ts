// A list of cards that is read again and again: each stays as long as its thing is listed, with what is open or has the focus.

import { h } from "../dom.ts";

export interface Card<T> {
  readonly node: HTMLElement;
  show(item: T): void;
}

export class Cards<T, C extends Card<T>> {
  private readonly kept = new Map<string, C>();

  /** `node`: what holds them; nothing else is in it. */
  constructor(private readonly idOf: (item: T) => string, private readonly make: (item: T) => C, readonly node: HTMLElement = h("ul", { class: "cards" })) {}

  get all(): C[] {
    return [...this.kept.values()];
  }

  /** Shows these in their order; `isPart`: what stands below them stays. */
  show(items: readonly T[], isPart = false): void {
    const listed = new Set(items.map(this.idOf));
    if (!isPart) for (const id of this.kept.keys()) if (!listed.has(id)) this.remove(id);
    items.forEach((item, place) => {
      const card = this.cardOf(item);
      card.show(item);
      // One that stands in its place is not moved: it would lose the focus.
      if (this.node.children[place] !== card.node) this.node.insertBefore(card.node, this.node.children[place] ?? null);
    });
  }

  /** Shows these below the others. */
  append(items: readonly T[]): void {
    for (const item of items) {
      const isNew = !this.kept.has(this.idOf(item));
      const card = this.cardOf(item);
      card.show(item);
      if (isNew) this.node.append(card.node);
    }
  }

  remove(id: string): void {
    this.kept.get(id)?.node.remove();
    this.kept.delete(id);
  }

  private cardOf(item: T): C {
    const id = this.idOf(item);
    const known = this.kept.get(id);
    if (known) return known;
    const card = this.make(item);
    this.kept.set(id, card);
    return card;
  }
}
