// Which runs are followed: a few, in an order, each once, and none when the view is left.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Followers, inOrder, MOST } from "../src/page/followers.ts";

/** Followers whose streams go on until they are told to stop, and what each of them was told. */
function following(): { followers: Followers; left: AbortController; begun: string[]; open: Set<string>; end: (id: string) => void } {
  const begun: string[] = [];
  const open = new Set<string>();
  const ends = new Map<string, () => void>();
  const left = new AbortController();
  const follow = (id: string, signal: AbortSignal): Promise<void> => new Promise((resolve) => {
    begun.push(id);
    open.add(id);
    const end = (): void => {
      open.delete(id);
      resolve();
    };
    ends.set(id, end);
    signal.addEventListener("abort", end);
  });
  return { followers: new Followers(follow, left.signal), left, begun, open, end: (id) => ends.get(id)?.() };
}

test("no more than a few are followed at once, and each by one stream", () => {
  const { followers, begun, open } = following();
  followers.keep(["a", "b", "c", "d", "e"]);
  followers.keep(["a", "b", "c", "d", "e"]);
  assert.equal(open.size, MOST);
  assert.deepEqual(begun, ["a", "b", "c"]);
});

test("what matters more takes the place of what matters less", () => {
  const { followers, open } = following();
  followers.keep(["a", "b", "c"]);
  followers.keep(["d", "a", "b", "c"]);
  assert.deepEqual([...open].sort(), ["a", "b", "d"]);
});

test("a run that ended leaves its place, and one that is listed again is followed again", async () => {
  const { followers, begun, open, end } = following();
  followers.keep(["a"]);
  end("a");
  await new Promise((resolve) => setImmediate(resolve));
  followers.keep(["a", "b"]);
  assert.deepEqual(begun, ["a", "a", "b"]);
  assert.deepEqual([...open], ["a", "b"]);
});

test("a stream that was stopped and is slow to end does not take the place of the one begun since", async () => {
  const { followers, begun } = following();
  followers.keep(["a"]);
  followers.keep([]);
  followers.keep(["a"]);
  await new Promise((resolve) => setImmediate(resolve));
  followers.keep(["a"]);
  assert.deepEqual(begun, ["a", "a"]);
});

test("nothing is followed once the view is left", () => {
  const { followers, left, begun, open } = following();
  followers.keep(["a", "b"]);
  left.abort();
  assert.equal(open.size, 0);
  followers.keep(["c"]);
  assert.deepEqual(begun, ["a", "b"]);
});

test("what was begun here comes first, what waits for a person last, and the rest as listed", () => {
  const run = (id: string, status: string, isOwn = false) => ({ id, status, isOwn });
  const runs = [run("waits", "waiting"), run("new", "queued"), run("old", "running"), run("own", "running", true), run("own, waits", "waiting", true)];
  assert.deepEqual(inOrder(runs), ["own", "new", "old", "waits", "own, waits"]);
});
