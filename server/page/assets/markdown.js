// A small Markdown: paragraphs, headings, lists, quotes, code, tables, bold, italic, links, and [n] for citations.
// It builds nodes and knows no HTML, so a tag in an answer is just its letters. The time it takes grows with the text
// and no faster, whatever the text: no pattern has two ways to take the same letters.

import { h, link } from "./dom.js";

const FENCE = /^ {0,3}(`{3,}|~{3,})/;
const HEADING = /^ {0,3}(#{1,6})\s+(.*)$/s;
const ITEM = /^( *)([-*+]|\d{1,9}[.)])\s+(.*)$/s;
const COLUMN_RULE = /^:?-+:?$/;
const DEEPEST = 8;

/** Nodes for the text; `cite(n)` gives the node for [n], or nothing where there is no such citation. */
export function markdown(text, cite = () => null) {
  return blocks(text.split(/\r\n|\r|\n/), cite, 0);
}

function blocks(lines, cite, depth) {
  const nodes = [];
  let at = 0;
  while (at < lines.length) {
    const [node, next] = block(lines, at, cite, depth);
    if (node) nodes.push(node);
    at = next;
  }
  return nodes;
}

function block(lines, at, cite, depth) {
  const line = lines[at];
  if (!line.trim()) return [null, at + 1];
  if (FENCE.test(line)) return code(lines, at);
  const heading = HEADING.exec(line);
  if (heading) {
    const level = Math.min(heading[1].length + 2, 6);
    return [h(`h${level}`, {}, inline(heading[2].replace(/ #+ *$/, ""), cite)), at + 1];
  }
  if (isRule(line)) return [h("hr"), at + 1];
  if (line.startsWith(">") && depth < DEEPEST) return quote(lines, at, cite, depth);
  if (ITEM.test(line) && depth < DEEPEST) return list(lines, at, cite, depth);
  if (line.includes("|") && isTableRule(lines[at + 1] ?? "")) return grid(lines, at, cite);
  return paragraph(lines, at, cite);
}

/** Three or more of one of - * _, and nothing else. */
function isRule(line) {
  const signs = line.replaceAll(" ", "");
  return signs.length > 2 && "-*_".includes(signs[0]) && !signs.replaceAll(signs[0], "") && leading(line) < 4;
}

function isTableRule(line) {
  return line.includes("-") && leading(line) < 4 && cells(line).every((cell) => COLUMN_RULE.test(cell));
}

function cells(line) {
  return line.trim().replace(/^\||\|$/g, "").split("|").map((each) => each.trim());
}

function code(lines, at) {
  const fence = FENCE.exec(lines[at])[1];
  let end = at + 1;
  while (end < lines.length && !(lines[end].trim().startsWith(fence) && !lines[end].trim().replaceAll(fence[0], ""))) end += 1;
  return [h("pre", { tabIndex: 0 }, h("code", {}, lines.slice(at + 1, end).join("\n"))), end + 1];
}

function quote(lines, at, cite, depth) {
  let end = at;
  while (end < lines.length && lines[end].startsWith(">")) end += 1;
  const inner = lines.slice(at, end).map((line) => line.replace(/^> ?/, ""));
  return [h("blockquote", {}, blocks(inner, cite, depth + 1)), end];
}

function list(lines, at, cite, depth) {
  const first = ITEM.exec(lines[at]);
  const indent = first[1].length;
  const ordered = /\d/.test(first[2]);
  const items = [];
  let end = at;
  while (end < lines.length) {
    const item = ITEM.exec(lines[end]);
    const more = items.length > 0 && (isBlankBeforeMore(lines, end, indent) || leading(lines[end]) > indent);
    if (item && item[1].length <= indent + 1 && item[1].length >= indent && /\d/.test(item[2]) === ordered) items.push([item[3]]);
    else if (more) items[items.length - 1].push(lines[end].slice(Math.min(leading(lines[end]), indent + 2)));
    else break;
    end += 1;
  }
  const nodes = items.map((inner) => h("li", {}, tight(blocks(inner, cite, depth + 1))));
  return [ordered ? h("ol", { start: parseInt(first[2], 10) }, nodes) : h("ul", {}, nodes), end];
}

function isBlankBeforeMore(lines, at, indent) {
  return !lines[at].trim() && at + 1 < lines.length && leading(lines[at + 1]) > indent && lines[at + 1].trim() !== "";
}

function leading(line) {
  return line.length - line.trimStart().length;
}

/** An item's only paragraph needs no paragraph around it. */
function tight(nodes) {
  return nodes.length && nodes[0].tagName === "P" ? [[...nodes[0].childNodes], nodes.slice(1)] : nodes;
}

function grid(lines, at, cite) {
  let end = at + 2;
  while (end < lines.length && lines[end].includes("|") && lines[end].trim()) end += 1;
  const head = h("tr", {}, cells(lines[at]).map((each) => h("th", { scope: "col" }, inline(each, cite))));
  const body = lines.slice(at + 2, end).map((line) => h("tr", {}, cells(line).map((each) => h("td", {}, inline(each, cite)))));
  return [h("div", { class: "scroll", tabIndex: 0, role: "region", "aria-label": "Table" },
    h("table", { class: "grid" }, h("thead", {}, head), h("tbody", {}, body))), end];
}

function paragraph(lines, at, cite) {
  let end = at + 1;
  const stops = (line) => !line.trim() || FENCE.test(line) || HEADING.test(line) || ITEM.test(line) || line.startsWith(">");
  while (end < lines.length && !stops(lines[end])) end += 1;
  const inner = lines.slice(at, end).flatMap((line, index) => [index ? h("br") : null, ...inline(line.trim(), cite)]);
  return [h("p", {}, inner), end];
}

// Inline: the alternatives are tried at each place in turn. Each looks ahead no further than to the next sign of its own
// kind, so that however many signs stay open, no stretch of text is gone through again for each of them.
const INLINE = new RegExp([
  "(?<!`)(`+)([^`]{1,2000})\\1(?!`)", // 1,2 code
  "\\*\\*(?=\\S)([^*\\n]{1,2000}?)\\*\\*", // 3 bold
  "__(?=\\S)([^_\\n]{1,2000}?)__", // 4 bold
  "(?<![\\w*])\\*(?=\\S)([^*\\n]{1,2000}?)\\*(?![\\w*])", // 5 italic
  "(?<![\\w_])_(?=\\S)([^_\\n]{1,2000}?)_(?![\\w_])", // 6 italic
  "!?\\[([^\\[\\]\\n]{1,500})\\]\\(([^()\\s]{1,2000})\\)", // 7,8 link
  "\\[(\\d{1,3}(?:\\s*,\\s*\\d{1,3}){0,9})\\]", // 9 citation
  "(https?://[^\\s<>()\\[\\]\"'`]{1,2000}[^\\s<>()\\[\\]\"'`.,;:!?*_])", // 10 address
  "\\\\([\\\\`*_\\[\\]()#+.!|>-])", // 11 escaped
].join("|"), "g");

function inline(text, cite) {
  const nodes = [];
  let at = 0;
  for (const found of text.matchAll(INLINE)) {
    if (found.index > at) nodes.push(text.slice(at, found.index));
    nodes.push(...piece(found, cite));
    at = found.index + found[0].length;
  }
  if (at < text.length) nodes.push(text.slice(at));
  return nodes;
}

function piece(found, cite) {
  const [, , codeText, bold, bold2, italic, italic2, label, address, numbers, url, escaped] = found;
  if (codeText !== undefined) return [h("code", {}, codeText)];
  if (bold !== undefined || bold2 !== undefined) return [h("strong", {}, inline(bold ?? bold2, cite))];
  if (italic !== undefined || italic2 !== undefined) return [h("em", {}, inline(italic ?? italic2, cite))];
  if (label !== undefined) return [link(address, label)];
  if (url !== undefined) return [link(url, url)];
  if (escaped !== undefined) return [escaped];
  return numbers.split(",").map((number) => cite(parseInt(number, 10)) ?? `[${number.trim()}]`);
}
