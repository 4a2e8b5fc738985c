// Who decides in one's stead while one is away: named for a time, seen by those concerned, and taken back again.

import { badge, button, fill, h, time, type Child } from "../dom.ts";
import type { Hub } from "../hub.ts";
import { visible } from "../letters.ts";
import { Acts } from "./acts.ts";
import { mark, row } from "./fields.ts";
import { everyItem, frame } from "./frame.ts";

const PATH = "v1/delegations";
const WORDS = "Name somebody who decides for you, for a time, what you may decide yourself: never what they asked for, nor, where four eyes are needed, what you asked for. Each decision says in whose stead it was made.";
const GIVING = "delegation_give";
const MANAGING = ["PARTNER", "SYSTEM_ADMIN"];

interface Delegation {
  delegation_id: string;
  delegator: string;
  delegate: string;
  starts_at: string;
  ends_at: string;
  reason: string;
  /** It holds now. */
  stands: boolean;
}

interface Options {
  hub: Hub;
  signal: AbortSignal;
  /** Who is signed in, by e-mail address, and their role. */
  who: string;
  role: string;
  /** The tools that their role may use. */
  usable: ReadonlySet<string>;
}

/** The form, for whoever may decide anything, and the delegations that are not over. */
export async function showAway(main: HTMLElement, options: Options): Promise<void> {
  const { hub, signal, usable } = options;
  const place = frame(main, "While you are away", WORDS);
  const said = h("p", { class: "said-of-it faint", role: "status" });
  const list = h("section", {});

  async function load(): Promise<void> {
    const items = await everyItem<Delegation>(hub, PATH, signal);
    fill(list, h("h2", {}, "Who decides in whose stead"), items.length
      ? h("ul", { class: "cards" }, items.map((item) => card(item, options, revoked)))
      : h("p", { class: "empty" }, "Nobody stands in for anybody."));
  }

  async function revoked(item: Delegation): Promise<void> {
    fill(said, `Withdrawn: ${visible(item.delegate)} no longer decides for ${visible(item.delegator)}.`);
    await load();
  }

  async function given(item: Delegation): Promise<void> {
    fill(said, `${visible(item.delegate)} decides in your stead `, period(item), ".");
    await load();
  }

  await load();
  fill(place, usable.has(GIVING) ? givingForm(hub, said, given) : null, said, list);
}

/** To whom, from when and until when; days count whole, in UTC, as the hub takes them. */
function givingForm(hub: Hub, said: HTMLElement, given: (item: Delegation) => Promise<void>): HTMLElement {
  const acts = new Acts();
  const delegate = h("input", { id: "away-delegate", type: "email", required: true, maxlength: 254, autocomplete: "off", placeholder: "name@example.com" });
  const from = h("input", { id: "away-from", type: "date" });
  const until = h("input", { id: "away-until", type: "date", required: true });
  const reason = h("input", { id: "away-reason", type: "text", maxlength: 500, autocomplete: "off" });
  const fields: Record<string, HTMLInputElement> = { starts_at: from, ends_at: until };
  const submit = async (event: Event): Promise<void> => {
    event.preventDefault();
    fill(said);
    const asked = {
      delegate: delegate.value.trim(), ends_at: until.value,
      ...(from.value ? { starts_at: from.value } : {}), ...(reason.value.trim() ? { reason: reason.value.trim() } : {}),
    };
    const done = await acts.act(JSON.stringify(asked), (key) => hub.post<Delegation>(PATH, asked, key));
    mark(fields, acts.said.textContent ?? "");
    if (!done) return;
    form.reset();
    await given(done.answer);
  };
  const form: HTMLFormElement = h("form", { class: "sheet schedule-form", on: { submit: (event: Event) => void submit(event) } },
    h("h2", {}, "New delegation"),
    h("div", { class: "schedule-fields" },
      row("Who decides for you", delegate), row("From (left out: now)", from), row("Through the end of", until), row("Why", reason),
      h("p", { class: "outcome faint" }, "Days count in UTC; 92 days at most.")),
    acts.said,
    h("div", { class: "buttons" }, h("button", { type: "submit", class: "button primary" }, "Delegate")));
  return form;
}

/** One delegation; whoever gave it, was given it, or is a partner may withdraw it, which takes a second press. */
function card(item: Delegation, { hub, who, role }: Options, revoked: (item: Delegation) => Promise<void>): HTMLElement {
  const acts = new Acts();
  const buttons = h("div", { class: "buttons" });
  const isConcerned = item.delegator === who || item.delegate === who || MANAGING.includes(role);
  const revoke = async (): Promise<void> => {
    const done = await acts.act("revoke", (key) => hub.change<Delegation>("DELETE", `${PATH}/${item.delegation_id}`, undefined, key));
    if (done) await revoked(item);
    else offer();
  };
  const ask = (): void => {
    const keep = button("Keep", offer, { kind: "small" });
    fill(buttons, keep, button("Withdraw now", revoke, { kind: "danger small" }));
    keep.focus();
  };
  function offer(): void {
    fill(buttons, button("Withdraw", ask, { kind: "quiet small", "aria-label": `Withdraw: ${item.delegate} for ${item.delegator}` }));
  }
  if (isConcerned) offer();
  return h("li", { class: "card" },
    h("div", { class: "card-head" }, h("span", { class: "card-title" }, visible(item.delegate), h("span", { class: "faint" }, ` for ${visible(item.delegator)}`)), item.stands ? badge("stands", "good") : badge("to come")),
    h("p", { class: "faint" }, period(item)),
    item.reason ? h("p", { class: "kept" }, visible(item.reason)) : null,
    acts.said, buttons);
}

function period({ starts_at, ends_at }: Delegation): Child {
  return ["from ", time(starts_at), " until ", time(ends_at)];
}
