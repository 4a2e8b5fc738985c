// A message as it flows, laid out anew at most once a frame; its citations open.

import type { Context } from "./context.ts";
import { fill, h } from "./dom.ts";
import { markdown } from "./markdown.ts";
import type { Citation } from "./wire.ts";
import { faultOf, placeOf } from "./words.ts";

export class TextView {
  readonly node = h("div", { class: "text" });
  private text = "";
  private citations: Citation[] = [];
  private due = 0;

  constructor(private readonly context: Context) {}

  get words(): string {
    return this.text;
  }

  get isFlowing(): boolean {
    return this.node.dataset.flowing !== undefined;
  }

  grow(delta: string): void {
    this.text += delta;
    this.node.dataset.flowing = "";
    this.due ||= requestAnimationFrame(() => this.layOut());
  }

  complete(text: string, citations: Citation[]): void {
    this.text = text;
    this.citations = citations;
    this.settle();
  }

  /** What was shown is withdrawn: it is taken away, and said so, until something takes its place. */
  reset(reason: string): void {
    this.text = "";
    this.citations = [];
    cancelAnimationFrame(this.due);
    this.due = 0;
    this.node.hidden = false;
    fill(this.node, h("p", { class: "note" }, `What stood here was withdrawn: ${reason}`));
  }

  settle(): void {
    delete this.node.dataset.flowing;
    if (this.text) this.layOut();
  }

  private layOut(): void {
    cancelAnimationFrame(this.due);
    this.due = 0;
    fill(this.node, markdown(this.text, (number) => this.chip(number), this.context.home), this.sources());
    this.node.hidden = !this.text;
  }

  private chip(number: number): HTMLElement | null {
    const citation = this.citations.find((each) => each.marker === number);
    if (!citation) return null;
    const fault = faultOf(citation);
    const label = [`Source ${number}: ${citation.title}`, fault].filter(Boolean).join(". ");
    const node = h("button", { type: "button", class: fault ? "chip failed" : "chip", title: label, "aria-label": label }, fault ? `${number}?` : number);
    node.addEventListener("click", () => this.open(citation, node));
    return node;
  }

  private open(citation: Citation, from: HTMLElement): void {
    this.context.open(citation, this.context.passages.around(citation), from);
  }

  private sources(): HTMLElement | null {
    if (!this.citations.length) return null;
    return h("ul", { class: "sources", "aria-label": "Sources" }, this.citations.map((citation) => {
      const fault = faultOf(citation);
      const place = fault || placeOf(citation);
      const node = h("button", { type: "button", class: fault ? "source failed" : "source" },
        h("span", { class: "number" }, citation.marker), h("span", { class: "name" }, citation.title),
        place ? h("span", { class: "place" }, place) : null);
      node.addEventListener("click", () => this.open(citation, node));
      return h("li", {}, node);
    }));
  }
}
