// A person's message: as it stands, and, where it may be, written anew in its place.

import { versionsOf, type Versions } from "./answer_bar.ts";
import type { Context } from "./context.ts";
import { button, fill, h, icon } from "./dom.ts";

export class SaidView {
  readonly node = h("div", { class: "said" });

  constructor(
    private readonly context: Context,
    readonly text: string,
    private readonly versions: Partial<Versions> = {},
  ) {
    this.show();
  }

  /** The run that it began, once that is known: from then on it can be written anew. */
  set run(run: string) {
    this.begun = run;
    this.show();
  }
  private begun: string | null = null;

  private show(): void {
    const { rewrite } = this.context;
    const run = this.begun;
    fill(this.node, h("span", { class: "unseen" }, "You: "), h("p", {}, this.text),
      h("div", { class: "acts", role: "group", "aria-label": "This message" },
        versionsOf(this.context, this.versions, "message"),
        run ? button(icon("edit"), () => this.edit((text) => rewrite(this, run, text)), { kind: "quiet round small again", "aria-label": "Edit this message", title: "Edit" }) : null));
  }

  private edit(done: (text: string) => void): void {
    const field = h("textarea", { rows: Math.min(8, this.text.split("\n").length + 1), maxlength: 100000, "aria-label": "Your message, edited" });
    field.value = this.text;
    const cancel = (): void => {
      this.show();
      this.node.querySelector<HTMLElement>(".again")?.focus();
    };
    const send = (): void => {
      const text = field.value.trim();
      if (text && text !== this.text) done(text);
      else cancel();
    };
    field.addEventListener("keydown", (event) => {
      if (event.key === "Escape") {
        event.stopPropagation();
        cancel();
      } else if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        send();
      }
    });
    fill(this.node, h("form", { class: "editing", on: { submit: (event: Event) => { event.preventDefault(); send(); } } }, field,
      h("span", { class: "row" }, h("button", { type: "submit", class: "button primary small" }, "Send"), button("Cancel", cancel, { kind: "quiet small" }))));
    field.focus();
  }
}
