// What is agreed to is what is read: no character hides, and none turns the others round.

import assert from "node:assert/strict";
import { test } from "node:test";

import { visible } from "../src/letters.ts";

const SHOWN: Record<string, string> = {
  "plain, über, 日本\n\tindented": "plain, über, 日本\n\tindented",
  "pay \u202e0001\u202c EUR": "pay ⟨U+202E⟩0001⟨U+202C⟩ EUR",
  "1\u200b000": "1⟨U+200B⟩000",
  "a\u2067b\u2069\u00ad\r": "a⟨U+2067⟩b⟨U+2069⟩⟨U+00AD⟩⟨U+000D⟩",
  "\u{e0041}\u3164": "⟨U+E0041⟩⟨U+3164⟩",
};

for (const [text, shown] of Object.entries(SHOWN)) {
  test(`${JSON.stringify(text)} hides nothing`, () => assert.equal(visible(text), shown));
}
