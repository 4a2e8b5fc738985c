// Cron expressions in words: only what is surely meant, and nothing for the rest.

import assert from "node:assert/strict";
import { test } from "node:test";

import { cronOf, cronWords, type Choice } from "../src/page/cron.ts";

const WORDS: readonly (readonly [string, string])[] = [
  ["0 7 * * MON-FRI", "Monday to Friday at 07:00"],
  ["0 7 * * 1-5", "Monday to Friday at 07:00"],
  ["5 9,17 * * *", "Every day at 09:05 and 17:05"],
  ["0 7 * * mon,THU", "Every Monday and Thursday at 07:00"],
  ["0 7 * * 0", "Every Sunday at 07:00"],
  ["0 7 * * 7", "Every Sunday at 07:00"],
  ["0 7 * * 5-7", "Friday to Sunday at 07:00"],
  ["30 6 1 * *", "On day 1 of every month at 06:30"],
  ["30 18 L * *", "On the last day of every month at 18:30"],
  ["0 8 1 1,4,7,oct *", "On day 1 of January, April, July and October at 08:00"],
  ["0 8 * 12 *", "Every day in December at 08:00"],
  ["0 8 * DEC FRI", "Every Friday in December at 08:00"],
  ["*/15 * * * *", "Every 15 minutes"],
  ["*/15 * * * MON-FRI", "Monday to Friday every 15 minutes"],
  ["* * * * *", "Every minute"],
  ["0 * * * *", "Every hour"],
  ["10 * * * *", "Every hour at 10 minutes past"],
];

const NO_WORDS = [
  "0 7 1 * MON", "0 7 * * FRI#2", "0 7 * * 5L", "0 7 * * FRI-MON", "*/7 * * * *", "*/0 * * * *", "0 */2 * * *", "0-10 7 * * *",
  "61 * * * *", "0 24 * * *", "0 7 0 * *", "0 7 32 * *", "0 7 * 13 *", "0 7 * * 8", "0 7 * * TODAY", "0 7 1,15 * *", "@daily", "",
  "* * * * * *", "0 7 * *", "0 7 * 0 *",
];

for (const [cron, words] of WORDS) test(`${cron} is ${words}`, () => assert.equal(cronWords(cron), words));

for (const cron of NO_WORDS) test(`“${cron}” has no words`, () => assert.equal(cronWords(cron), null));

test("each choice of the form is the expression that says so", () => {
  const choice: Choice = { often: "daily", at: "07:05", weekday: "SAT", day: "L", cron: " 1 2 3 4 5 " };
  const found = (["daily", "workdays", "weekly", "monthly", "cron"] as const).map((often) => cronOf({ ...choice, often }));
  assert.deepEqual(found, ["5 7 * * *", "5 7 * * MON-FRI", "5 7 * * SAT", "5 7 L * *", "1 2 3 4 5"]);
  assert.deepEqual(found.slice(0, 4).map(cronWords), [
    "Every day at 07:05", "Monday to Friday at 07:05", "Every Saturday at 07:05", "On the last day of every month at 07:05",
  ]);
});
