// What takes a second press: the words that say what comes of it, and two buttons, of which the safe one has the focus.

import { button, fill, h, type Child } from "../dom.ts";
import { newId } from "../hub.ts";

interface Asked {
  /** What comes of it. */
  words: Child;
  /** What the button that does it says. */
  act: string;
  does: () => Promise<void>;
  /** The button that asked, to which the focus returns. */
  asker: HTMLElement;
}

export class Confirm {
  readonly node = h("div", { class: "confirm", role: "group", hidden: true, on: { keydown: (event: KeyboardEvent) => this.onKey(event) } });
  private asker: HTMLElement | null = null;

  ask({ words, act, does, asker }: Asked): void {
    const id = `confirm-${newId()}`;
    const keep = button("Keep", () => this.close(), { kind: "small", "aria-describedby": id });
    this.asker = asker;
    this.node.setAttribute("aria-labelledby", id);
    fill(this.node, h("p", { id }, words), h("div", { class: "buttons" },
      keep, button(act, () => this.go(does), { kind: "danger small", "aria-describedby": id })));
    this.node.hidden = false;
    keep.focus();
  }

  /** Nothing is asked any more. */
  close(): void {
    const hadFocus = this.node.contains(document.activeElement);
    this.node.hidden = true;
    fill(this.node);
    if (hadFocus) this.asker?.focus();
  }

  private async go(does: () => Promise<void>): Promise<void> {
    this.close();
    await does();
  }

  private onKey(event: KeyboardEvent): void {
    if (event.key === "Escape") this.close();
  }
}
