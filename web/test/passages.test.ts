// Quotes are cut out of their passages by code points, as offsets count.

import assert from "node:assert/strict";
import { test } from "node:test";

import { cut, Passages } from "../src/passages.ts";
import type { Citation } from "../src/wire.ts";

const TEXT = "𝄞é quince 🍐 jam";
const CUTS: [number, number, string[] | null][] = [
  [0, 1, ["", "𝄞", "é quince 🍐 jam"]],
  [3, 9, ["𝄞é ", "quince", " 🍐 jam"]],
  [10, 11, ["𝄞é quince ", "🍐", " jam"]],
  [0, 15, ["", TEXT, ""]],
  [3, 16, null],
  [-1, 4, null],
  [4, 4, null],
];

for (const [start, end, parts] of CUTS) {
  test(`${start} to ${end}`, () => assert.deepEqual(cut(TEXT, start, end), parts));
}

test("a citation is found in the passage that a search gave, and nowhere else", () => {
  const passages = new Passages();
  passages.learn({ items: [{ document_id: "a", text: TEXT, start: 100 }, null, { document_id: 7 }] });
  for (const nothing of [null, undefined, 7, "x", {}, { items: "x" }]) passages.learn(nothing);
  const citation = { document_id: "a", start: 103, end: 109 } as Citation;
  assert.deepEqual(passages.around(citation), ["𝄞é ", "quince", " 🍐 jam"]);
  assert.equal(passages.around({ ...citation, document_id: "b" }), null);
});

test("a citation is found in what was read of its document, and in the first passage that holds it", () => {
  const passages = new Passages();
  passages.learn({ items: [{ document_id: "a", text: TEXT, start: 100 }] });
  passages.learn({ document_id: "a", text: `${TEXT}, and more`, start: 100, marker: 2 });
  assert.deepEqual(passages.around({ document_id: "a", start: 103, end: 109 } as Citation), ["𝄞é ", "quince", " 🍐 jam"]);
  assert.deepEqual(passages.around({ document_id: "a", start: 117, end: 125 } as Citation), [`${TEXT}, `, "and more", ""]);
});
