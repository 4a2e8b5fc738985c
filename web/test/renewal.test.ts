// When a token is renewed: before it ends, by its own times once one was replaced, and never in a loop.

import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { lastsLonger, Renewal } from "../src/renewal.ts";

const MINUTE_MS = 60_000;

function token(issued: number, expires: number): string {
  return `h.${Buffer.from(JSON.stringify({ sub: "p", org: "o", iat: issued, exp: expires })).toString("base64url")}.s`;
}

/** How often a token is asked for within `minutes`; `give` makes the next one, from the seconds that the server's clock says. */
function asked(minutes: number, clockAhead: number, give: (now: number) => string): number {
  mock.timers.enable({ apis: ["setTimeout", "Date"], now: clockAhead * 1000 });
  try {
    const now = (): number => Date.now() / 1000 - clockAhead;
    let times = 0;
    let held: string | null = null;
    const renewal = new Renewal(() => {
      times += 1;
      const fresh = give(now());
      renewal.watch(fresh, held);
      held = fresh;
    });
    held = give(0);
    renewal.watch(held, null);
    for (let second = 0; second < minutes * 60; second += 1) mock.timers.tick(MINUTE_MS / 60);
    return times;
  } finally {
    mock.timers.reset();
  }
}

test("tokens that last half a minute are asked for at most twice in a minute", () => {
  const times = asked(1, 0, (now) => token(now, now + 30));
  assert.ok(times >= 1 && times <= 2, String(times));
});

test("a token that ends when the last one did is not asked for again", () => {
  assert.equal(asked(5, 0, (now) => token(now, 45)), 1);
});

test("a reader's clock that is fourteen minutes fast costs one asking more, and no loop", () => {
  const times = asked(60, 14 * 60, (now) => token(now, now + 15 * 60));
  assert.ok(times >= 4 && times <= 6, String(times));
});

test("a token of a quarter of an hour is renewed a minute before its end", () => {
  assert.equal(asked(13, 0, (now) => token(now, now + 15 * 60)), 0);
  assert.equal(asked(15, 0, (now) => token(now, now + 15 * 60)), 1);
});

test("only a later end is a longer one", () => {
  assert.equal(lastsLonger(token(0, 9), token(0, 9)), false);
  assert.equal(lastsLonger(token(0, 10), token(0, 9)), true);
});
