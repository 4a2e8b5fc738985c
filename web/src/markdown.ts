// An answer's text as nodes: marked lays it out, DOMPurify lets a few plain elements through, and links and citations are
// then built by hand. Nothing else of this program turns text into markup.

import DOMPurify, { type Config } from "dompurify";

import { link } from "./dom.ts";
import { citedIn, toHtml } from "./html.ts";

const ALLOWED: Config & { RETURN_DOM_FRAGMENT: true } = {
  ALLOWED_TAGS: [
    "p", "br", "hr", "strong", "em", "del", "code", "pre", "blockquote", "ul", "ol", "li", "a",
    "h3", "h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td",
  ],
  ALLOWED_ATTR: ["href", "start"],
  ALLOW_ARIA_ATTR: false,
  ALLOW_DATA_ATTR: false,
  ALLOWED_URI_REGEXP: /^(?:https?:\/\/|mailto:)/i,
  RETURN_DOM_FRAGMENT: true,
};

/** Nodes for the text; `cite(n)` gives the node for [n], or nothing where there is no such citation. */
export function markdown(text: string, cite: (number: number) => Node | null, home: URL): DocumentFragment {
  const laidOut = DOMPurify.sanitize(toHtml(text), ALLOWED);
  for (const anchor of laidOut.querySelectorAll("a")) {
    anchor.replaceWith(link(anchor.getAttribute("href") ?? "", anchor.textContent ?? "", home));
  }
  for (const grid of laidOut.querySelectorAll("table")) scrolling(grid, "Table");
  for (const code of laidOut.querySelectorAll("pre")) code.tabIndex = 0;
  for (const words of textsOf(laidOut)) citations(words, cite);
  return laidOut;
}

function scrolling(grid: HTMLElement, label: string): void {
  const frame = document.createElement("div");
  frame.className = "scroll";
  frame.tabIndex = 0;
  frame.setAttribute("role", "region");
  frame.setAttribute("aria-label", label);
  grid.className = "grid";
  grid.replaceWith(frame);
  frame.append(grid);
}

/** The pieces of running text, outside of code and links. */
function textsOf(root: DocumentFragment): Text[] {
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  const found: Text[] = [];
  while (walker.nextNode()) {
    const node = walker.currentNode as Text;
    if (!node.parentElement?.closest("code, pre, a")) found.push(node);
  }
  return found;
}

function citations(words: Text, cite: (number: number) => Node | null): void {
  const text = words.data;
  const pieces: (Node | string)[] = [];
  let at = 0;
  for (const { start, end, numbers } of citedIn(text)) {
    const chips = numbers.map((number) => cite(number) ?? `[${number}]`);
    if (chips.every((chip) => typeof chip === "string")) continue;
    pieces.push(text.slice(at, start), ...chips);
    at = end;
  }
  if (at > 0) words.replaceWith(...pieces, text.slice(at));
}
