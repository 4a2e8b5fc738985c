// What a call names, as whoever decides sees it now, and whether it is still what was asked about.

import { h } from "./dom.ts";
import { visible } from "./letters.ts";
import type { Approval, Subject } from "./wire.ts";

/** Each thing in words; nothing where the call names none. */
export function subjects(item: Approval): HTMLElement | null {
  const named = item.subjects;
  if (!named) return null;
  if (!named.is_bound) return h("p", { class: "faint" }, "What it names was not kept when it was asked about: look whether it is still what it was.");
  if (named.items.length === 0) return null;
  return h("section", {}, h("h4", {}, "What it names"), named.items.map(subject),
    named.left_out ? h("p", { class: "faint" }, `and ${named.left_out} more`) : null);
}

function subject(each: Subject): HTMLElement {
  const kind = each.subject.replaceAll("_", " ");
  return h("div", {},
    h("p", {}, h("span", { class: "mono" }, visible(each.argument)), ` names this ${kind}`,
      each.state === "changed" ? [", ", h("strong", { class: "error" }, "changed since it was asked about: approved, it would be refused")] : null),
    each.words
      ? h("dl", { class: "facts" }, each.words.map((word) => [h("dt", {}, word.name), h("dd", { class: "kept" }, visible(word.value))]))
      : h("p", { class: "faint" }, "You may not see it, or it is gone."),
    each.is_whole === false ? h("p", { class: "faint" }, "Cut: it is longer than what is shown here.") : null);
}
