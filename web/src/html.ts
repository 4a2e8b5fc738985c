// Markdown to HTML by marked, with everything taken out that an answer has no need of: raw HTML stays the letters it is,
// pictures become links, links lead to http, https and mail. What comes out is still sanitised before it becomes nodes.

import { Marked, type Tokens } from "marked";

/** Beyond this many characters a text is shown as it stands: laying it out must never hold a page up. */
export const LONGEST = 40_000;
const LONGEST_PARAGRAPH = 8_000;
const LONGEST_LINE = 4_000;

const SAFE = /^(?:https?:\/\/|mailto:)/i;

function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);
}

function anchor(href: string, inner: string): string {
  return SAFE.test(href) ? `<a href="${escaped(href)}">${inner}</a>` : `${inner} (${escaped(href)})`;
}

const marked = new Marked({
  gfm: true,
  breaks: true,
  tokenizer: {
    html: () => undefined,
    tag: () => undefined,
    // [1] is a citation, whatever an answer would have it lead to.
    def: () => undefined,
  },
  renderer: {
    heading({ tokens, depth }: Tokens.Heading): string {
      const level = Math.min(depth + 2, 6);
      return `<h${level}>${this.parser.parseInline(tokens)}</h${level}>`;
    },
    link({ href, tokens }: Tokens.Link): string {
      return anchor(href, this.parser.parseInline(tokens));
    },
    image({ href, text }: Tokens.Image): string {
      return anchor(href, escaped(text || href));
    },
    html: ({ text }: Tokens.HTML | Tokens.Tag): string => escaped(text),
    checkbox: ({ checked }: Tokens.Checkbox): string => (checked ? "☑ " : "☐ "),
  },
});

/** The text as HTML of a few plain tags. */
export function toHtml(text: string): string {
  if (!isLaidOut(text)) return `<p>${escaped(text).replaceAll("\n", "<br>")}</p>`;
  return marked.parse(bounded(text), { async: false });
}

/** What takes the library more time than it is long: endless blanks, and quotes within quotes within quotes. */
function bounded(text: string): string {
  return text.replace(/[^\S\n]{80,}/g, " ".repeat(80)).replace(/^(?:[^\S\n]?>){12,}/gm, ">".repeat(12));
}

/** Whether no stretch of running text is so long that the signs in it, each looking for its other half, take seconds. */
function isLaidOut(text: string): boolean {
  if (text.length > LONGEST) return false;
  let paragraph = 0;
  for (const line of text.split("\n")) {
    const isNew = line.trim() === "" || line.startsWith("|");
    paragraph = isNew ? line.length : paragraph + line.length;
    if (line.length > LONGEST_LINE || paragraph > LONGEST_PARAGRAPH) return false;
  }
  return true;
}

/** A place in an answer's text where it cites: the numbers, and where their brackets stand. */
export interface Cited {
  start: number;
  end: number;
  numbers: number[];
}

const CITATION = /\[(\d{1,3}(?:\s?,\s?\d{1,3}){0,9})\]/g;

/** Where a text cites: [1], [2, 3]. */
export function citedIn(text: string): Cited[] {
  return [...text.matchAll(CITATION)].map((found) => ({
    start: found.index,
    end: found.index + found[0].length,
    numbers: (found[1] ?? "").split(",").map((each) => parseInt(each, 10)),
  }));
}
