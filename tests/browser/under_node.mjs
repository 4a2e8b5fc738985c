// Runs functions of the page's modules without a browser, on a document that only holds what they build.
// From standard input [[module, function, arguments], ...]; to standard output what each call gave, nodes as their markup.

import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

class Node {
  constructor(tag) {
    this.tagName = tag.toUpperCase();
    this.childNodes = [];
    this.attributes = new Map();
  }

  append(...nodes) {
    for (const node of nodes) this.childNodes.push(node);
  }

  replaceChildren(...nodes) {
    this.childNodes = nodes;
  }

  setAttribute(name, value) {
    this.attributes.set(name, value);
  }
}

globalThis.document = {
  createElement: (tag) => new Node(tag),
  createTextNode: (text) => String(text),
};
globalThis.location = new URL("http://glow.test/");

function shown(value) {
  if (value instanceof Node) {
    const tag = value.tagName.toLowerCase();
    return value.childNodes.length ? `<${tag}>${value.childNodes.map(shown).join("")}</${tag}>` : `<${tag}>`;
  }
  return value;
}

const folder = process.argv[2];
const answers = [];
for (const [module, name, given] of JSON.parse(readFileSync(0, "utf8"))) {
  const { [name]: called } = await import(pathToFileURL(`${folder}/${module}`));
  const result = called(...given);
  answers.push(Array.isArray(result) ? result.map(shown) : shown(result));
}
process.stdout.write(JSON.stringify(answers));
