// One approval laid out so that a person knows what they agree to, and the two answers to it.

import { compared } from "./compared.ts";
import { subjects } from "./subjects.ts";
import { button, fill, go, h, stateBadge, table, time, type Child } from "./dom.ts";
import { Refused, wordsOf, type Hub } from "./hub.ts";
import { result } from "./results.ts";
import type { Approval, Asked, DecidedCall } from "./wire.ts";
import { reasonList, roleName, titleOf } from "./words.ts";

interface Options {
  hub: Hub;
  /** Called with the new state once it is decided here. */
  decided: (id: string, state: string) => void;
  /** Whether it stands by itself on the hub's page, and leads back to its conversation. */
  leadsBack: boolean;
  /** Makes a change that takes more room, and keeps in view what was. */
  grow?: (change: () => void) => void;
}

/** A pending approval waits for its answer here; a decided one says what became of it. */
export class ApprovalCard {
  readonly node: HTMLElement;
  private readonly options: Options;
  private id = "";
  private state = "";

  constructor(options: Options) {
    this.options = options;
    this.node = h("article", { class: "sheet", "aria-label": "Approval" }, h("p", { class: "faint", role: "status" }, "Loading…"));
  }

  /** Fetches the approval and lays it out; `asked` is what is shown where it cannot be fetched. */
  async load(id: string, asked?: Asked): Promise<void> {
    this.id = id;
    try {
      this.layOut(await this.options.hub.get<Approval>(`v1/approvals/${encodeURIComponent(id)}`), null);
    } catch (fault) {
      if (!asked) throw fault;
      fill(this.node, this.head(asked.tool, "pending"), table(asked.arguments, "Arguments"), h("p", { class: "error", role: "alert" }, wordsOf(fault)));
    }
  }

  /** Fetches it anew, unless what became of it stands here already. */
  async refresh(): Promise<void> {
    if (this.state !== "pending") return;
    const item = await this.options.hub.get<Approval>(`v1/approvals/${encodeURIComponent(this.id)}`).catch(() => undefined);
    // One's own answer may have come meanwhile, and it says what came of the call.
    if (item && this.stillWaits()) this.layOut(item, null);
  }

  private stillWaits(): boolean {
    return this.state === "pending";
  }

  private layOut(item: Approval, call: DecidedCall | null): void {
    const shown = (): void => this.show(item, call);
    if (this.options.grow) this.options.grow(shown);
    else shown();
  }

  private show(item: Approval, call: DecidedCall | null): void {
    this.state = item.state;
    const waits = item.state === "pending";
    this.node.classList.toggle("waits", waits);
    fill(this.node,
      this.head(item.tool, item.state),
      h("h4", {}, waits ? "Exactly this will be done" : "What was asked for"), compared(item), waits ? subjects(item) : null,
      h("h4", {}, waits ? "Why it waits" : "Why it had to be asked"), reasonList(item.reasons),
      this.facts(item),
      waits ? this.answerForm(item) : null,
      call ? resultOf(call) : null);
  }

  private head(tool: string, state: string): HTMLElement {
    const lead = state === "pending" ? "Needs a person’s approval" : "Approval";
    return h("header", { class: "sheet-head" },
      h("div", {}, h("p", { class: "lead" }, lead), h("h3", { class: "sheet-title", tabIndex: -1 }, titleOf(tool)), h("p", { class: "faint mono small" }, tool)),
      stateBadge(state));
  }

  private facts(item: Approval): HTMLElement {
    const who = `${roleName(item.needs_role)} or above${item.four_eyes ? `, and not the one who asked${item.set_up_by ? " or set it up" : ""}` : ""}`;
    const place = this.options.leadsBack && item.conversation_id;
    return h("dl", { class: "facts" },
      fact("Asked by", [item.requested_by, ", ", time(item.created_at)]),
      item.set_up_by ? fact("Set up by", item.set_up_by.join(", ")) : null,
      item.state === "pending" ? [fact("Who may decide", who), fact("Expires", time(item.expires_at))] : null,
      place ? fact("Conversation", go(`conversation=${place}`, "open it")) : null,
      item.decided_by ? fact("Decided by", [item.decided_by, item.decided_for ? ` in the stead of ${item.decided_for}` : "", ", ", time(item.decided_at)]) : null,
      item.state === "pending" && item.reminded_at ? fact("Reminded", time(item.reminded_at)) : null,
      item.comment ? fact("Comment", h("span", { class: "kept" }, item.comment)) : null);
  }

  private answerForm(item: Approval): HTMLElement {
    const comment = h("textarea", { id: `comment-${item.id}`, rows: 2, maxlength: 2000 });
    const said = h("p", { role: "alert", class: "error" });
    const answer = (decision: string) => (): Promise<void> => this.answer(item, decision, comment.value.trim(), form, said);
    const form: HTMLFormElement = h("form", { class: "decide", on: { submit: (event: Event) => event.preventDefault() } },
      h("label", { for: comment.id }, "Comment ", h("span", { class: "faint" }, "(kept in the record)")), comment, said,
      h("div", { class: "buttons" },
        button("Approve", answer("approve"), { kind: "primary" }),
        button("Reject", answer("reject"), { kind: "danger" })));
    return form;
  }

  private async answer(item: Approval, decision: string, comment: string, form: HTMLElement, said: HTMLElement): Promise<void> {
    const buttons = form.querySelectorAll("button");
    for (const each of buttons) each.disabled = true;
    fill(said);
    try {
      const body = { decision, ...(comment ? { comment } : {}) };
      const { call, ...now } = await this.options.hub.post<Approval & { call: DecidedCall }>(`v1/approvals/${item.id}/decision`, body);
      this.layOut({ ...item, ...now }, call);
      this.node.querySelector<HTMLElement>(".sheet-title")?.focus({ preventScroll: true });
      this.node.querySelector(".result > p")?.scrollIntoView({ block: "nearest" });
      this.options.decided(item.id, now.state);
    } catch (fault) {
      fill(said, wordsOf(fault));
      for (const each of buttons) each.disabled = false;
      if (fault instanceof Refused && fault.status === 409) await this.load(item.id).catch(() => undefined);
    }
  }
}

function fact(name: string, value: Child): Child {
  return [h("dt", {}, name), h("dd", {}, value)];
}

function resultOf(call: DecidedCall): HTMLElement {
  return h("section", { class: "result", role: "status" },
    h("h4", {}, "What came of it"), h("p", {}, stateBadge(call.outcome)),
    call.result ? result(call.result) : null,
    call.error ? h("p", { class: "kept" }, call.error.message) : null,
    h("p", { class: "faint mono small" }, `call ${call.call_id}`));
}
