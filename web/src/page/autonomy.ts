// What the record has earned the agent: proposals to raise a tool's ceiling, with what they rest on, and the two answers to them.

import { badge, button, fill, h, stateBadge, time, type Child } from "../dom.ts";
import { type Hub } from "../hub.ts";
import { visible } from "../letters.ts";
import { titleOf, toolName } from "../words.ts";
import { Acts } from "./acts.ts";
import { frame, type Page } from "./frame.ts";
import { callDetails, heads } from "./records.ts";

export const DECIDING = "autonomy_proposal_decide";
const PATH = "v1/autonomy/proposals";
const WORDS = "What became of the agent’s calls is counted from the sealed record. Where that bears it, a raise is proposed, and a partner decides; too many calls that went wrong take it back at once.";

type Mark = "approved" | "rejected" | "failed" | "reversed";

interface Counts extends Record<Mark, number> {
  /** Lower end of the Wilson score interval. */
  bound: number;
}

interface CountedCall {
  call_id: string;
  mark: Mark;
  ended_at: string;
}

interface Evidence extends Counts {
  needed: number;
  since: string | null;
  rules: { z: number; window_calls: number; reversal_days: number };
  calls: CountedCall[];
}

interface Proposal {
  proposal_id: string;
  tool: string;
  from_level: string;
  to_level: string;
  state: string;
  evidence: Evidence;
  through: number;
  proposed_at: string;
  decided_by?: string;
  decided_at?: string;
  comment?: string;
}

interface ToolRecord extends Counts {
  tool: string;
  effect: string;
}

interface Records {
  items: ToolRecord[];
  through: number;
}

const LEVELS: Record<string, string> = { L0: "Manual", L1: "Suggest", L2: "Auto-prepare", L3: "Autopilot" };
const MARKS: Record<Mark, readonly [words: string, tone: string]> = {
  approved: ["approved", "good"], rejected: ["rejected", "bad"], failed: ["failed", "bad"], reversed: ["undone", "bad"],
};

interface Options {
  /** Whether who is signed in is offered the decision; it is asked of the hub all the same. */
  mayDecide: boolean;
  /** A proposal was decided here. */
  decided: () => void;
}

/** What is open first, then what the record says of each tool, then what was decided. */
export async function showAutonomy(hub: Hub, main: HTMLElement, options: Options): Promise<void> {
  const place = frame(main, "Earned autonomy", WORDS);
  const [open, all, records] = await Promise.all([
    hub.get<Page<Proposal>>(`${PATH}?state=open&limit=100`),
    hub.get<Page<Proposal>>(`${PATH}?limit=50`),
    hub.get<Records>("v1/autonomy/records"),
  ]);
  const past = all.items.filter((item) => item.state !== "open");
  fill(place,
    h("section", { class: "proposals" }, h("h2", {}, "Proposed"), open.items.length
      ? open.items.map((item) => new ProposalSheet(hub, item, options).node)
      : h("p", { class: "empty" }, "Nothing is proposed.")),
    h("section", {}, h("h2", {}, "What the record says"), recordTable(records)),
    past.length ? h("section", { class: "proposals" }, h("h2", {}, "Decided"), h("ul", { class: "cards" }, past.map(pastCard))) : null);
}

/** A proposal whole, with every call that it rests on. */
class ProposalSheet {
  readonly node = h("article", { class: "sheet" });
  private readonly acts = new Acts();

  constructor(private readonly hub: Hub, proposal: Proposal, private readonly options: Options) {
    this.show(proposal);
  }

  private show(proposal: Proposal): void {
    const { tool, to_level, evidence } = proposal;
    const isOpen = proposal.state === "open";
    this.node.classList.toggle("waits", isOpen);
    this.node.setAttribute("aria-label", `Proposal for ${titleOf(tool)}`);
    fill(this.node,
      h("header", { class: "sheet-head" },
        h("div", {}, h("p", { class: "lead" }, isOpen ? "Needs a partner’s decision" : "Proposal"), h("h3", { class: "sheet-title", tabIndex: -1 }, `${titleOf(tool)}: from ${proposal.from_level} to ${to_level}`), h("p", { class: "faint mono small" }, tool)),
        isOpen ? badge(proposal.state, "warn") : stateBadge(proposal.state)),
      h("p", {}, `At most at ${levelName(to_level)} instead of ${levelName(proposal.from_level)}, from the next call on: what the organization’s own level, a member’s range and policy allow, the agent then does without asking.`),
      h("dl", { class: "facts" },
        fact("Calls that count", countWords(evidence)),
        fact("Lower bound", [h("strong", {}, evidence.bound.toFixed(3)), ` of ${evidence.needed.toFixed(2)} that are needed `, h("span", { class: "faint" }, `(Wilson, z ${evidence.rules.z}, the newest ${evidence.rules.window_calls} calls at most)`)]),
        fact("Counted since", evidence.since ? time(evidence.since) : "the beginning of the record"),
        fact("Rests on", `the first ${proposal.through.toLocaleString("en")} events of the sealed record`),
        fact("Proposed", time(proposal.proposed_at)),
        outcomeOf(proposal)),
      evidenceOf(this.hub, evidence),
      isOpen && this.options.mayDecide ? this.answerForm(proposal) : null,
      isOpen && !this.options.mayDecide ? h("p", { class: "faint" }, "A partner decides it.") : null,
      this.acts.said);
  }

  private answerForm(proposal: Proposal): HTMLElement {
    const comment = h("textarea", { id: `comment-${proposal.proposal_id}`, rows: 2, maxlength: 1000 });
    const answer = (decision: "accept" | "reject") => () => this.decide(proposal, decision, comment.value.trim());
    return h("form", { class: "decide", on: { submit: (event: Event) => event.preventDefault() } },
      h("label", { for: comment.id }, "Comment ", h("span", { class: "faint" }, "(kept in the record)")), comment,
      h("div", { class: "buttons" },
        button(`Accept ${proposal.to_level}`, answer("accept"), { kind: "primary" }),
        button("Reject", answer("reject"), { kind: "danger" })));
  }

  private async decide(proposal: Proposal, decision: string, comment: string): Promise<void> {
    const path = `${PATH}/${proposal.proposal_id}`;
    const body = { decision, ...(comment ? { comment } : {}) };
    const decided = await this.acts.act(JSON.stringify(body), (key) => this.hub.post<Proposal>(`${path}/decision`, body, key));
    const now = decided?.answer ?? (await this.hub.get<Proposal>(path).catch(() => proposal));
    if (now.state === "open") return;
    this.show(now);
    this.node.querySelector<HTMLElement>(".sheet-title")?.focus({ preventScroll: true });
    this.options.decided();
  }
}

function outcomeOf({ decided_by, decided_at, comment }: Proposal): Child {
  return [
    decided_by ? fact("Decided by", [decided_by, ", ", time(decided_at)]) : null,
    comment ? fact("Comment", h("span", { class: "kept" }, visible(comment))) : null,
  ];
}

/** Every call that was counted: those that went wrong, then the newest first; each can be looked at by who may see it. */
function evidenceOf(hub: Hub, { calls }: Evidence): HTMLElement {
  const newest = [...calls].reverse();
  const ordered = [...newest.filter((call) => call.mark !== "approved"), ...newest.filter((call) => call.mark === "approved")];
  const body = h("tbody");
  const list = h("details", { class: "evidence" },
    h("summary", {}, `The ${calls.length} calls that it rests on`),
    h("div", { class: "scroll evidence-calls", tabIndex: 0, role: "region", "aria-label": "Calls" }, h("table", { class: "ledger whole" },
      h("caption", { class: "unseen" }, "Calls that were counted; those that went wrong first"), heads(["Ended", "What became of it", ""]), body)));
  list.addEventListener("toggle", () => body.append(...ordered.flatMap((call) => callRows(hub, call))), { once: true });
  return list;
}

function callRows(hub: Hub, call: CountedCall): HTMLElement[] {
  const inside = h("td", { colspan: 3 });
  const details = h("tr", { class: "details", hidden: true }, inside);
  const toggle = button("Look", async () => {
    details.hidden = !details.hidden;
    toggle.setAttribute("aria-expanded", String(!details.hidden));
    if (!details.hidden) fill(inside, ...(await callDetails(hub, call.call_id)));
  }, { kind: "quiet small", "aria-expanded": "false", "aria-label": `Look at call ${call.call_id}` });
  const [words, tone] = MARKS[call.mark];
  return [h("tr", {}, h("td", { class: "moment" }, time(call.ended_at)), h("td", {}, badge(words, tone)), h("td", {}, toggle)), details];
}

function recordTable({ items, through }: Records): HTMLElement {
  const counted = items.filter(({ approved, rejected, failed, reversed }) => approved + rejected + failed + reversed);
  if (!counted.length) return h("p", { class: "empty" }, "Nothing is counted yet that you may see.");
  return h("div", {},
    h("div", { class: "scroll" }, h("table", { class: "ledger whole tallies" }, h("caption", { class: "unseen" }, "The agent’s calls by tool"),
      heads(["Tool", "Approved", "Rejected", "Failed", "Undone", "Bound"]),
      h("tbody", {}, counted.map((item) => h("tr", {},
        h("td", { class: "titled" }, toolName(item.tool)),
        [item.approved, item.rejected, item.failed, item.reversed, item.bound.toFixed(3)].map((count) => h("td", {}, count))))))),
    h("p", { class: "faint" }, `Counted from the first ${through.toLocaleString("en")} events of the sealed record. A call counts for the agent where somebody other than who asked approved it and it stood.`));
}

function pastCard(item: Proposal): HTMLElement {
  return h("li", { class: "card" },
    h("div", { class: "card-head" }, h("span", { class: "card-title" }, `${titleOf(item.tool)}: from ${item.from_level} to ${item.to_level}`), stateBadge(item.state)),
    h("p", { class: "faint" }, `${countWords(item.evidence)}, bound ${item.evidence.bound.toFixed(3)} · proposed `, time(item.proposed_at)),
    h("dl", { class: "facts" }, outcomeOf(item)));
}

function countWords({ approved, rejected, failed, reversed }: Counts): string {
  const wrong = [[rejected, "rejected"], [failed, "failed"], [reversed, "undone"]].filter(([count]) => count);
  const all = approved + rejected + failed + reversed;
  return [`${approved} of ${all} approved by somebody else and stood`, ...wrong.map((part) => part.join(" "))].join(", ");
}

function levelName(level: string): string {
  return `${level} (${LEVELS[level] ?? level})`;
}

function fact(name: string, value: Child): Child {
  return [h("dt", {}, name), h("dd", {}, value)];
}
