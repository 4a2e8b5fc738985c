// What a person has done by a press on a card: made once, and told beside the button where it was refused or has to wait.

import { fill, go, h } from "../dom.ts";
import { isAbort, isAway, newId, Refused, wordsOf } from "../hub.ts";
import { denialOf } from "../words.ts";

const STILL_UNDER_WAY = "idempotency_in_progress";

/** A call that was not made, since a person has to agree to it first. */
interface Waiting {
  outcome: "waiting";
  approval_id: string;
}

function isWaiting(answer: unknown): answer is Waiting {
  return (answer as Partial<Waiting> | undefined)?.outcome === "waiting";
}

/** Of an argument that the page fills in by itself; to whoever presses a button its name says nothing. */
const UNTOLD = /^(document_id|source_id|settings|trust): (.)/;

/** Why something was not done, in words. */
export function refusalOf(fault: unknown): string {
  if (fault instanceof Refused && fault.reasons.length) return `Not allowed. ${denialOf(fault.reasons)}`;
  return wordsOf(fault).replace(UNTOLD, (_, name: string, first: string) => (name === "settings" ? first : first.toUpperCase()));
}

/** The acts of one card, one at a time. */
export class Acts {
  /** Beside the buttons. */
  readonly said = h("p", { class: "refusal", role: "alert" });
  private isBusy = false;
  /** Of the act that the hub may have heard of without its answer being heard here. */
  private unanswered: { name: string; key: string } | null = null;

  /** Forgets what was said of an act before. */
  clear(): void {
    fill(this.said);
  }

  /**
   * Does it, under a key by which a second press after a lost connection is the same act. What it answers, or null where it
   * was refused or waits for a person, which is told.
   */
  async act<T>(name: string, ask: (key: string) => Promise<T>): Promise<{ answer: T } | null> {
    if (this.isBusy) return null;
    this.isBusy = true;
    this.clear();
    const key = this.unanswered?.name === name ? this.unanswered.key : newId();
    this.unanswered = { name, key };
    try {
      const answer = await ask(key);
      this.unanswered = null;
      if (!isWaiting(answer)) return { answer };
      fill(this.said, "This waits for a person’s approval: ", go(`approval=${answer.approval_id}`, "look at it"), ".");
    } catch (fault) {
      if (isAbort(fault)) return null;
      if (!isAway(fault) && !(fault instanceof Refused && fault.code === STILL_UNDER_WAY)) this.unanswered = null;
      fill(this.said, h("span", { class: "error" }, refusalOf(fault)));
    } finally {
      this.isBusy = false;
    }
    return null;
  }
}
