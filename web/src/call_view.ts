// A tool call: one line that says what became of it, and everything about it inside.

import { CallProgress } from "./call_progress.ts";
import type { Archive } from "./context.ts";
import { badge, fill, h, stateBadge, table } from "./dom.ts";
import { wordsOf } from "./hub.ts";
import { result as resultOf } from "./results.ts";
import type { Failure } from "./wire.ts";
import { reasonList, toolName } from "./words.ts";

export class CallView {
  readonly node: HTMLElement;
  private isKnown = false;
  private readonly verdict = h("span", { class: "badges verdict" });
  private readonly outcome = h("span", { class: "badges" }, badge("running", "warn"));
  private readonly arguments: HTMLElement;
  private readonly decision = h("div");
  private readonly result = h("div");
  private going: CallProgress | null = null;

  constructor(private readonly id: string, readonly tool: string, values: unknown, private readonly archive: Archive | null) {
    this.arguments = h("section", {}, h("h4", {}, "Arguments"), table(values, `Arguments of ${tool}`));
    const details = h("details", {},
      h("summary", {}, toolName(tool), h("span", { class: "hint" }, hintOf(values)), this.verdict, this.outcome),
      h("div", { class: "inside" }, this.arguments, this.decision, this.result, h("p", { class: "faint mono small" }, `call ${id}`)));
    details.addEventListener("toggle", () => details.open && void this.look());
    this.node = h("div", { class: "call" }, details);
  }

  decided(decision: string, reasons: readonly string[]): void {
    this.isKnown = true;
    fill(this.verdict, decision === "allow" ? null : stateBadge(decision));
    fill(this.decision, h("h4", {}, "Decision"), h("p", {}, stateBadge(decision)), reasonList(reasons));
  }

  progressed(progress: number, message: string): void {
    if (!this.going) this.node.append((this.going = new CallProgress(this.tool)).node);
    this.going.show(progress, message);
  }

  completed(outcome: string | null, result?: unknown, error?: Failure): void {
    this.rests();
    fill(this.outcome, stateBadge(outcome));
    if (result === undefined && error === undefined) return;
    fill(this.result, h("h4", {}, error ? "Why" : "Result"),
      error ? h("p", { class: "kept" }, `${error.message ?? ""} (${error.code ?? "error"})`) : resultOf(result));
  }

  private rests(): void {
    this.going?.node.remove();
    this.going = null;
  }

  /** A call that the run's end found unfinished. */
  settle(): void {
    this.rests();
    if (this.outcome.textContent === "running") fill(this.outcome, badge("unfinished"));
  }

  /** The record's own words, where the stream's are not at hand and the record may be read. */
  private async look(): Promise<void> {
    if (this.isKnown || !this.archive) return;
    try {
      const call = await this.archive.call(this.id);
      this.isKnown = true;
      fill(this.arguments, h("h4", {}, "Arguments"), table(call.arguments, `Arguments of ${call.tool}`));
      if (call.decision) this.decided(call.decision, call.reasons);
      this.completed(call.outcome, call.result, call.error_code ? { code: call.error_code } : undefined);
    } catch (fault) {
      fill(this.decision, h("p", { class: "faint" }, wordsOf(fault)));
    }
  }
}

function hintOf(values: unknown): string {
  const first = Object.values(values ?? {}).find((value) => typeof value === "string" && value) as string | undefined;
  return first ? (first.length > 90 ? `${first.slice(0, 89)}…` : first) : "";
}
