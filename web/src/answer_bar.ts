// What can be done with an answer that stands: copy it, say whether it was good, have it given again, look at its versions.

import type { Context } from "./context.ts";
import { button, fill, h, icon } from "./dom.ts";
import { wordsOf } from "./hub.ts";
import type { Feedback } from "./wire.ts";

export interface Versions {
  /** Its place among them, from 1. */
  version: number;
  /** A run of each. */
  versions: readonly string[];
}

export interface Answered extends Partial<Versions> {
  run: string;
  text: string;
  feedback?: Feedback | null;
}

/** The bar under an answer. */
export class AnswerBar {
  readonly node = h("div", { class: "acts", role: "group", "aria-label": "This answer" });
  private feedback: Feedback | null;
  private readonly up = this.thumb("up", "Good answer");
  private readonly down = this.thumb("down", "Not a good answer");
  private readonly said = h("div", { class: "feedback" });

  constructor(
    private readonly context: Context,
    private readonly answered: Answered,
    again: (() => void) | null,
  ) {
    this.feedback = answered.feedback ?? null;
    const { text } = answered;
    fill(this.node,
      versionsOf(context, answered, "answer"),
      text && window.isSecureContext ? button(icon("copy"), () => this.copy(text), { kind: "quiet round small", "aria-label": "Copy", title: "Copy" }) : null,
      this.up, this.down,
      again ? button(icon("again"), again, { kind: "quiet round small again", "aria-label": "Answer again", title: "Answer again" }) : null,
      this.said);
    this.show();
  }

  private thumb(rating: "up" | "down", label: string): HTMLButtonElement {
    return button(icon(rating), () => this.rate(rating), { kind: "quiet round small", "aria-label": label, title: label });
  }

  private show(): void {
    this.up.setAttribute("aria-pressed", String(this.feedback?.rating === "up"));
    this.down.setAttribute("aria-pressed", String(this.feedback?.rating === "down"));
  }

  private async copy(text: string): Promise<void> {
    await navigator.clipboard.writeText(text).then(() => this.tell("Copied."), () => this.tell("This browser does not let it be copied."));
  }

  /** A second press takes it back. */
  private async rate(rating: "up" | "down"): Promise<void> {
    const isSame = this.feedback?.rating === rating;
    if (!(await this.give(isSame ? null : { rating, comment: this.feedback?.comment ?? "" }))) return;
    if (isSame) this.tell("Taken back.");
    else this.askWhy();
  }

  private async give(feedback: Feedback | null): Promise<boolean> {
    const path = `v1/runs/${encodeURIComponent(this.answered.run)}/feedback`;
    try {
      await (feedback ? this.context.hub.change("PUT", path, { ...feedback }) : this.context.hub.change("DELETE", path));
    } catch (fault) {
      this.tell(wordsOf(fault));
      return false;
    }
    this.feedback = feedback;
    this.show();
    return true;
  }

  private askWhy(): void {
    const field = h("input", { type: "text", maxlength: 4000, value: this.feedback?.comment ?? "", placeholder: "Why? (optional)", "aria-label": "Comment on this answer", autocomplete: "off" });
    const send = async (event: Event): Promise<void> => {
      event.preventDefault();
      const { rating } = this.feedback ?? {};
      if (rating && (await this.give({ rating, comment: field.value }))) this.tell("Thank you.");
    };
    this.context.grow(() => fill(this.said,
      h("form", { on: { submit: (event: Event) => void send(event) } }, field,
        h("button", { type: "submit", class: "button small" }, "Send"),
        h("span", { class: "faint" }, "Your firm’s managers read it."))));
    field.focus();
  }

  private tell(words: string): void {
    this.context.grow(() => fill(this.said, h("span", { class: "faint", role: "status" }, words)));
  }
}

/** Arrows between the versions of a message or an answer; null where there is but one. */
export function versionsOf(context: Context, { version = 1, versions = [] }: Partial<Versions>, of: string): HTMLElement | null {
  const choose = context.choose;
  if (versions.length < 2 || !choose) return null;
  const arrow = (to: number, shape: string, label: string): HTMLButtonElement => {
    const run = versions[to - 1];
    return button(icon(shape), () => run && choose(run), { kind: "quiet round small", disabled: !run, "aria-label": label, title: label });
  };
  return h("span", { class: "versions", role: "group", "aria-label": `Versions of this ${of}` },
    arrow(version - 1, "before", `Earlier version of this ${of}`),
    h("span", { class: "faint" }, `${version}/${versions.length}`),
    arrow(version + 1, "after", `Later version of this ${of}`));
}
