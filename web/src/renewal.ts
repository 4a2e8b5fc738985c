// When a token is to be renewed: a minute before it ends, and never in a loop, whatever its reader's clock says.

import { claimsOf } from "./thread.ts";

const BEFORE_S = 60;
const SOONEST_MS = 1000;
const SOONEST_AGAIN_MS = 30_000;
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** Counts down for one token at a time. */
export class Renewal {
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly due: () => void) {}

  /**
   * Counts down for this token, which took the place of `before`. One that replaces another was made just now, so that its
   * own times say how long it lasts; one that lasts no longer than what it replaces is not counted down for again.
   */
  watch(token: string | null, before: string | null): void {
    this.stop();
    const { issued, expires } = claimsOf(token);
    if (expires === null || (before !== null && !lastsLonger(token, before))) return;
    const isFresh = before !== null && issued !== null;
    const left = expires * 1000 - (isFresh ? issued * 1000 : Date.now()) - BEFORE_S * 1000;
    const soonest = before === null ? SOONEST_MS : SOONEST_AGAIN_MS;
    this.timer = setTimeout(this.due, Math.min(Math.max(left, soonest), LONGEST_TIMER_MS));
  }

  stop(): void {
    clearTimeout(this.timer);
  }
}

/** Whether a token ends later than the one whose place it took. */
export function lastsLonger(token: string | null, before: string | null): boolean {
  return (claimsOf(token).expires ?? Infinity) > (claimsOf(before).expires ?? -Infinity);
}
