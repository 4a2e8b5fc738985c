// Calls that act outside and of which nobody knows yet how they ended: a person who has looked there says so.

import { badge, button, fill, h, time } from "../dom.ts";
import type { Hub } from "../hub.ts";
import { visible } from "../letters.ts";
import { titleOf } from "../words.ts";
import { Acts } from "./acts.ts";
import { everyItem, frame } from "./frame.ts";

const PATH = "v1/open-calls";
const WORDS = "What these calls did outside is not known yet. The hub asks on; whoever has looked there can say how one ended: once, and it is kept as their word.";
const CONCLUDING = "call_conclude";

interface OpenCall {
  call_id: string;
  tool: string;
  begun_at: string;
  asked_by: string;
  needs_role: string;
  four_eyes: boolean;
}

interface Options {
  hub: Hub;
  signal: AbortSignal;
  /** The tools that their role may use. */
  usable: ReadonlySet<string>;
}

/** The list, with two answers to each for whoever may give one at all; whether to this one, the hub says. */
export async function showOpenCalls(main: HTMLElement, { hub, signal, usable }: Options): Promise<void> {
  const place = frame(main, "Calls left open", WORDS);
  const said = h("p", { class: "said-of-it faint", role: "status" });
  const list = h("section", {});

  async function load(): Promise<void> {
    const items = await everyItem<OpenCall>(hub, PATH, signal);
    fill(list, items.length
      ? h("ul", { class: "cards" }, items.map((item) => card(item, hub, usable.has(CONCLUDING), concluded)))
      : h("p", { class: "empty" }, "It is known of every call how it ended."));
  }

  async function concluded(item: OpenCall, happened: boolean): Promise<void> {
    fill(said, `${titleOf(item.tool)}: recorded as ${happened ? "done" : "not made"}, by your word.`);
    await load();
  }

  await load();
  fill(place, said, list);
}

function card(item: OpenCall, hub: Hub, mayConclude: boolean, concluded: (item: OpenCall, happened: boolean) => Promise<void>): HTMLElement {
  const who = `${item.needs_role} or above${item.four_eyes ? ", and not whoever asked" : ""}`;
  return h("li", { class: "card" },
    h("div", { class: "card-head" }, h("span", { class: "card-title" }, titleOf(item.tool), " ", h("span", { class: "name mono" }, item.tool)), badge("not known", "warn")),
    h("p", { class: "faint" }, "asked by ", visible(item.asked_by), " · ", time(item.begun_at), ` · who may say how it ended: ${who}`),
    mayConclude ? form(item, hub, concluded) : null);
}

/** What shows it has to be given; neither answer is the one that Enter gives. */
function form(item: OpenCall, hub: Hub, concluded: (item: OpenCall, happened: boolean) => Promise<void>): HTMLElement {
  const acts = new Acts();
  const statement = h("input", { id: `statement-${item.call_id}`, type: "text", required: true, maxlength: 2000, autocomplete: "off" });
  const say = async (happened: boolean): Promise<void> => {
    if (!statement.value.trim()) {
      statement.focus();
      fill(acts.said, h("span", { class: "error" }, "Say from where you know it."));
      return;
    }
    const asked = { happened, statement: statement.value.trim() };
    const done = await acts.act(JSON.stringify(asked), (key) => hub.post(`${PATH}/${item.call_id}/conclusion`, asked, key));
    if (done) await concluded(item, happened);
  };
  return h("form", { on: { submit: (event: Event) => event.preventDefault() } },
    h("div", { class: "schedule-field" }, h("label", { for: statement.id }, "Its reference outside, or from where you know it"), statement),
    acts.said,
    h("div", { class: "buttons" },
      button("It happened", () => say(true), { kind: "small", "aria-label": `It happened: ${item.call_id}` }),
      button("It did not happen", () => say(false), { kind: "quiet small", "aria-label": `It did not happen: ${item.call_id}` })));
}
