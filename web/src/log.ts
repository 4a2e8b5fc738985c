// The log of a conversation: where what was said stands, and how it keeps its end in view.

import { fill, h, type Child } from "./dom.ts";

const NEAR_PX = 160;

export class Log {
  private readonly inner = h("div", { class: "log", role: "log", "aria-label": "Conversation", "aria-live": "off" });
  readonly node = h("div", { class: "scroller", tabIndex: 0, role: "region", "aria-label": "Conversation" }, this.inner);

  add(...nodes: Node[]): void {
    this.inner.append(...nodes);
  }

  fill(...shown: Child[]): void {
    fill(this.inner, ...shown);
  }

  /** Takes the welcome away, where it stands. */
  begin(): void {
    if (this.inner.querySelector(".welcome")) this.fill();
  }

  loading(): void {
    this.fill(h("div", { class: "loading", role: "status" }, h("span", { class: "unseen" }, "Loading the conversation"), h("i"), h("i"), h("i")));
  }

  /** Takes away what stands behind a node; `itself`: the node too. */
  cut(node: Node, itself = false): void {
    while (node.nextSibling) node.nextSibling.remove();
    if (itself) node.parentNode?.removeChild(node);
  }

  /** Makes a change that takes more room, and stays at the end where it was. */
  grow(change: () => void): void {
    const { scrollHeight, scrollTop, clientHeight } = this.node;
    change();
    if (scrollHeight - scrollTop - clientHeight < NEAR_PX) this.toEnd();
  }

  toEnd(): void {
    this.node.scrollTop = this.node.scrollHeight;
  }
}

/** What went wrong, and what can be done about it. */
export function notice(text: string, action: HTMLElement | null = null): HTMLElement {
  return h("div", { class: "banner bad", role: "alert" }, h("div", {}, text), action);
}
