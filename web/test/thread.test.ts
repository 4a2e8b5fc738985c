// What a tab remembers: read back whole, never believed when it is something else, one person's never another's.

import assert from "node:assert/strict";
import { test } from "node:test";

import { claimsOf, Thread, type Storage } from "../src/thread.ts";

class Memory implements Storage {
  readonly kept = new Map<string, string>();

  getItem(key: string): string | null {
    return this.kept.get(key) ?? null;
  }

  setItem(key: string, value: string): void {
    if (value.length > 20_000) throw new Error("full");
    this.kept.set(key, value);
  }

  removeItem(key: string): void {
    this.kept.delete(key);
  }
}

test("a thread is read back as it was kept", () => {
  const memory = new Memory();
  const thread = new Thread(memory, "a");
  const turn = thread.begin("hello", "1");
  turn.run = "r";
  turn.seen = 7;
  thread.kept.conversation = "c";
  thread.save();
  assert.deepEqual(new Thread(memory, "a").kept, thread.kept);
  assert.deepEqual(new Thread(memory, "b").kept, { conversation: null, turns: [] });
  assert.deepEqual(new Thread(memory, "a", "another").kept, { conversation: "another", turns: [] });
});

for (const kept of ["", "{", "null", "7", '{"turns":7}', '{"turns":[{"message":1}],"conversation":{}}', '{"turns":[null]}']) {
  test(`${JSON.stringify(kept)} in the storage is no thread`, () => {
    const memory = new Memory();
    memory.kept.set("a", kept);
    assert.deepEqual(new Thread(memory, "a").kept, { conversation: null, turns: [] });
  });
}

test("the oldest turns go first, and a full storage costs no more than the memory of a reload", () => {
  const thread = new Thread(new Memory(), "a");
  for (let n = 0; n < 40; n += 1) thread.begin("x".repeat(2000), String(n)).run = "r";
  assert.equal(thread.kept.turns.length, 30);
  assert.equal(thread.kept.turns[0]?.id, "10");
});

test("a message that never arrived is forgotten when the next one is said", () => {
  const thread = new Thread(new Memory(), "a");
  thread.begin("lost", "1");
  thread.begin("begun", "2").run = "r";
  thread.begin("next", "3");
  assert.deepEqual(thread.kept.turns.map(({ message, ended }) => [message, ended]), [["begun", true], ["next", false]]);
});

test("claims are read without being believed, and what is no token is somebody's", () => {
  const payload = Buffer.from('{"sub":"p","org":"Ö","iat":7,"exp":9}').toString("base64url");
  assert.deepEqual(claimsOf(`h.${payload}.s`), { holder: "Ö p", issued: 7, expires: 9 });
  for (const token of [null, "", "x", "a.b.c", "..", "a.bnVsbA.c"]) {
    assert.deepEqual(claimsOf(token), { holder: "somebody", issued: null, expires: null });
  }
});
