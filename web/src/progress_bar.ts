// A bar that says how far something has come, to the eye and to a screen reader: a share from 0 to 1, with words.

import { h } from "./dom.ts";

export class ProgressBar {
  private readonly done = h("i");
  readonly node: HTMLElement;

  /** `label` names what it is the progress of. */
  constructor(label: string) {
    this.node = h("div", { class: "progress", role: "progressbar", "aria-label": label, "aria-valuemin": 0, "aria-valuemax": 100 }, this.done);
  }

  /** `share` from 0 to 1, or null where nobody can say yet. */
  show(share: number | null, words: string): void {
    const percent = share === null ? null : Math.round(Math.min(Math.max(share, 0), 1) * 100);
    this.node.classList.toggle("unknown", percent === null);
    if (percent === null) this.node.removeAttribute("aria-valuenow");
    else this.node.setAttribute("aria-valuenow", String(percent));
    this.node.setAttribute("aria-valuetext", [percent === null ? "" : `${percent} %`, words].filter(Boolean).join(", "));
    this.done.style.width = percent === null ? "" : `${percent}%`;
  }

  /** Colours it by how it ended: good or bad; plain while it goes. */
  tone(tone: "plain" | "good" | "bad"): void {
    this.node.classList.toggle("good", tone === "good");
    this.node.classList.toggle("bad", tone === "bad");
  }
}
