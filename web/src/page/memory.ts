// What the agent remembers of how the person wants to be answered: listed, added to, put in other words, forgotten.

import { button, fill, h, time } from "../dom.ts";
import { wordsOf, type Hub } from "../hub.ts";
import { visible } from "../letters.ts";
import { frame, type Page } from "./frame.ts";

const PATH = "v1/me/preferences";
const LONGEST = 300;

interface Preference {
  preference_id: string;
  words: string;
  updated_at: string;
}

/** Everything that is remembered, and a line to add to it. */
export async function showMemory(hub: Hub, main: HTMLElement): Promise<void> {
  const place = frame(main, "What I remember", "How you want to be answered, in your own words. Nobody else sees it, and it lifts no rule of the firm.");
  const said = h("div", { role: "status" });
  const list = h("div");

  async function load(): Promise<void> {
    const { items } = await hub.get<Page<Preference>>(PATH);
    fill(list, items.length
      ? h("ul", { class: "cards" }, items.map((item) => h("li", { class: "card" }, shown(item))))
      : h("p", { class: "empty" }, "Nothing yet. Say “always answer in German”, or write it above."));
  }

  /** Does it and shows what is remembered then; what the hub refuses, it says. */
  async function change(act: () => Promise<unknown>, words: string): Promise<void> {
    try {
      await act();
      await load();
      fill(said, h("p", { class: "faint" }, words));
    } catch (fault) {
      fill(said, h("p", { class: "error", role: "alert" }, wordsOf(fault)));
    }
  }

  function shown(item: Preference): Node[] {
    const one = `${PATH}/${item.preference_id}`;
    const card = h("div", {});
    const view = (): void => void fill(card,
      h("div", { class: "card-head" }, h("span", { class: "kept" }, visible(item.words)), time(item.updated_at)),
      h("div", { class: "line" },
        button("Edit", edit, { kind: "quiet small", "aria-label": `Edit: ${item.words}` }),
        button("Forget", () => change(() => hub.change("DELETE", one), "Forgotten."), { kind: "quiet small", "aria-label": `Forget: ${item.words}` })));
    const edit = (): void => {
      const form = line("In other words", item.words, "Save", (words) => change(() => hub.change("PATCH", one, { words }), "Changed."));
      form.querySelector(".line")?.append(button("Cancel", view, { kind: "quiet small" }));
      fill(card, form);
      form.querySelector("input")?.focus();
    };
    view();
    return [card];
  }

  await load();
  fill(place, line("Remember", "", "Add", (words) => change(() => hub.change("POST", PATH, { words }), "Remembered.")), said, list);
}

/** One line of words, and what is done with them. */
function line(label: string, words: string, act: string, done: (words: string) => Promise<void>): HTMLElement {
  const field = h("input", { type: "text", value: words, maxlength: LONGEST, required: true, autocomplete: "off", "aria-label": label });
  const submit = async (event: Event): Promise<void> => {
    event.preventDefault();
    if (!field.value.trim()) return;
    await done(field.value.trim());
    if (!words) field.value = "";
  };
  return h("form", { on: { submit: (event: Event) => void submit(event) } },
    h("div", { class: "line" }, field, h("button", { type: "submit", class: "button primary" }, act)));
}
