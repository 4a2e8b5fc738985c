// The field to say something, files to add beside it, and the button that ends a run early.

import { button, fill, h, icon } from "./dom.ts";
import { TAKEN } from "./uploads.ts";

export interface ComposerOptions {
  ask: (message: string) => void;
  stop: () => Promise<void>;
  upload: (files: File[]) => Promise<void>;
}

export class Composer {
  readonly node: HTMLFormElement;
  private readonly field: HTMLTextAreaElement;
  private readonly send: HTMLButtonElement;
  private readonly stop: HTMLButtonElement;

  constructor(private readonly options: ComposerOptions) {
    this.field = h("textarea", {
      id: "message", rows: 1, placeholder: "Ask, or say what to do", maxlength: 100000,
      on: { input: () => this.fit(), keydown: (event: KeyboardEvent) => this.key(event) },
    });
    this.send = h("button", { type: "submit", class: "button primary round", "aria-label": "Send" }, icon("send"));
    this.stop = button("Stop", () => this.end(), { kind: "danger", hidden: true });
    this.node = h("form", { class: "composer", on: { submit: (event: Event) => this.submit(event) } },
      h("label", { for: "message", class: "unseen" }, "Your message"),
      this.files(), this.field, this.send, this.stop);
  }

  focus(): void {
    this.field.focus({ preventScroll: true });
  }

  /** While a run goes on it can be stopped, once it is known, and nothing else can be asked. */
  busy(isBusy: boolean, canStop = false): void {
    if (isBusy) this.yieldFocus(this.send);
    this.send.hidden = isBusy;
    if (!isBusy) this.yieldFocus(this.stop);
    this.stop.hidden = !(isBusy && canStop);
    if (!isBusy) this.stop.disabled = false;
  }

  /** A message that was not taken stands here again, above what was written since. */
  giveBack(message: string): void {
    this.field.value = [message, this.field.value].filter(Boolean).join("\n");
    this.fit();
  }

  /** A button that goes, or can no longer be pressed, leaves its focus to the field. */
  private yieldFocus(from: HTMLElement): void {
    if ((from.getRootNode() as Document | ShadowRoot).activeElement === from) this.focus();
  }

  private async end(): Promise<void> {
    this.yieldFocus(this.stop);
    this.stop.disabled = true;
    await this.options.stop().catch(() => {
      this.stop.disabled = false;
    });
  }

  private submit(event: Event): void {
    event.preventDefault();
    const message = this.field.value.trim();
    if (!message || this.send.hidden) return;
    this.field.value = "";
    this.fit();
    this.options.ask(message);
  }

  private key(event: KeyboardEvent): void {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    this.node.requestSubmit();
  }

  /** The field grows with its text, by rows, since styles in attributes are not let in. */
  private fit(): void {
    const wide = Math.max(20, Math.floor(this.field.clientWidth / 8));
    const lines = this.field.value.split("\n").reduce((sum, line) => sum + Math.max(1, Math.ceil(line.length / wide)), 0);
    this.field.rows = Math.min(Math.max(lines, 1), 8);
  }

  private files(): HTMLElement {
    const input = h("input", { type: "file", id: "attach", multiple: true, class: "unseen", tabIndex: -1, accept: TAKEN, "aria-label": "Files" });
    const attach = button(icon("attach"), () => input.click(), { kind: "quiet round", "aria-label": "Add documents", title: "Add documents" });
    input.addEventListener("change", () => {
      const chosen = [...(input.files ?? [])];
      input.value = "";
      if (chosen.length) void this.options.upload(chosen).finally(() => attach.focus());
    });
    return fill(h("span", { class: "attach" }), input, attach);
  }
}
