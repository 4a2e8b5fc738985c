// Sources in words, and the settings that a form's fields come to.

import assert from "node:assert/strict";
import { test } from "node:test";

import { readsWhat, reportWords, settingsOf, type Given } from "../src/page/source_words.ts";

const EMPTY: Given = { path: "", account: "", folder_id: "", drive_id: "", urls: "", below: "", pages: "", depth: "" };

test("a report tells what was done in one order, and what failed as such", () => {
  assert.equal(reportWords({ failed: 2, removed: 1, added: 30, replaced: 4 }), "30 added, 4 changed, 1 removed, 2 could not be read");
  assert.equal(reportWords({}), "Nothing had changed");
});

test("a folder is its path, whatever the fields of other kinds hold", () => {
  assert.deepEqual(settingsOf("folder", { ...EMPTY, path: " /srv/papers ", account: "office", urls: "https://a.example/" }), { path: "/srv/papers" });
});

test("of a Drive only what was filled in is asked for", () => {
  assert.deepEqual(settingsOf("google_drive", EMPTY), {});
  assert.deepEqual(settingsOf("google_drive", { ...EMPTY, folder_id: " 1AbC ", account: "tax" }), { account: "tax", folder_id: "1AbC" });
});

test("a site has its first pages one a line, and numbers as numbers", () => {
  assert.deepEqual(settingsOf("web", { ...EMPTY, urls: "https://a.example/x\n\n https://a.example/y ", below: "/guidance/", pages: "50", path: "/etc" }),
    { urls: ["https://a.example/x", "https://a.example/y"], path: "/guidance/", pages: 50 });
  assert.deepEqual(settingsOf("web", { ...EMPTY, urls: "https://a.example/", depth: "0" }), { urls: ["https://a.example/"], depth: 0 });
});

test("what a source reads is said in a line, also where its settings are odd", () => {
  assert.equal(readsWhat("folder", { path: "/srv/papers" }), "/srv/papers");
  assert.equal(readsWhat("google_drive", { account: "office", folder_id: "1AbC" }), "folder 1AbC, account office");
  assert.equal(readsWhat("google_drive", { account: "office" }), "All that is shown to it, account office");
  assert.equal(readsWhat("web", { urls: ["https://a.example/"], path: "/", pages: 200, depth: 5 }), "https://a.example/, 200 pages at most");
  assert.equal(readsWhat("folder", { path: { odd: true } }), '{"odd":true}');
  assert.equal(readsWhat("web", {}), "");
});
