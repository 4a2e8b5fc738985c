// How far a call has come that takes its time: a bar, its words and its share, below the call's line.

import { h } from "./dom.ts";
import { ProgressBar } from "./progress_bar.ts";

export class CallProgress {
  private readonly bar: ProgressBar;
  private readonly words = h("span", { class: "words" });
  private readonly share = h("span", { class: "share" });
  readonly node: HTMLElement;

  constructor(tool: string) {
    this.bar = new ProgressBar(`Progress of ${tool}`);
    // The bar says the same to a screen reader.
    this.node = h("div", { class: "going" }, this.bar.node, h("p", { "aria-hidden": "true" }, this.words, this.share));
  }

  /** `progress`: from 0 to 1. */
  show(progress: number, words: string): void {
    this.bar.show(progress, words);
    this.words.textContent = words;
    this.share.textContent = `${Math.round(progress * 100)} %`;
  }
}
