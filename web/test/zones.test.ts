// A moment on the clock of a schedule's zone, and on the reader's own where it reads otherwise.

import assert from "node:assert/strict";
import { test } from "node:test";

import { clocks, zones } from "../src/page/zones.ts";

const WINTER = "2026-12-01T06:00:00+00:00";
const SUMMER = "2026-07-01T23:30:00+00:00";

test("a reader on the same clock is told one time", () => {
  assert.deepEqual(clocks(WINTER, "Europe/Malta", "Europe/Rome", "en-GB"), { there: "Tue, 1 Dec 2026, 07:00", here: null });
});

test("a reader on another clock is told both, with the day", () => {
  assert.deepEqual(clocks(SUMMER, "Europe/London", "America/New_York", "en-GB"), { there: "Thu, 2 Jul 2026, 00:30", here: "Wed, 1 Jul 2026, 19:30" });
});

test("a zone that this browser does not know is shown in UTC, and says so", () => {
  assert.equal(clocks(WINTER, "Mars/Olympus", "UTC", "en-GB").there, "Tue, 1 Dec 2026, 06:00 UTC");
});

test("UTC is among the zones, and each is there once, by the name it has now", () => {
  assert.ok(zones().includes("UTC"));
  assert.ok(zones().includes("Asia/Kathmandu"));
  assert.ok(!zones().includes("Asia/Katmandu"));
  assert.equal(new Set(zones()).size, zones().length);
});
