// A run is not a connection: its message is sent until it arrives, and its events are taken up again where they broke off.

import { isAbort, pause, Refused, wordsOf, type Hub, type NewMessage } from "./hub.ts";
import { notice } from "./log.ts";
import type { RunView } from "./run_view.ts";
import type { Turn } from "./thread.ts";
import { isTerminal, type RunEvent } from "./wire.ts";

const MOST_ATTEMPTS = 5;

/** A run under way: `id` is known once it has begun, `turn` where this tab asked. */
export interface Current {
  view: RunView;
  id: string | null;
  turn: Turn | null;
}

export interface CarrierOptions {
  hub: Hub;
  /** Told that the connection broke, and that it is back. */
  lost: (isLost: boolean) => void;
  begun: (current: Current) => void;
  happened: (current: Current, event: RunEvent) => void;
  /** The message was not taken. */
  refused: (current: Current, fault: unknown) => void;
  ended: (current: Current) => void;
}

/** Carries one run at a time to its end, also one that waits for a person: it goes on wherever that is answered. */
export class Carrier {
  current: Current | null = null;
  private readonly stopper = new AbortController();

  constructor(private readonly options: CarrierOptions) {}

  get isLeft(): boolean {
    return this.stopper.signal.aborted;
  }

  leave(): void {
    this.stopper.abort();
  }

  /** Sends a message until it arrives; the same id makes a second sending the same message. */
  async *sent(turn: Turn, message: NewMessage): AsyncGenerator<RunEvent> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        const { signal } = this.stopper;
        const { hub } = this.options;
        const { version, id } = turn;
        return yield* version ? hub.version(version.act, version.run, turn.message, id, signal) : hub.chat(message, signal);
      } catch (fault) {
        const isLost = fault instanceof Refused && fault.status === 0 && !turn.run && attempt < MOST_ATTEMPTS;
        if (!isLost) throw fault;
        this.options.lost(true);
        await pause(400 * 2 ** attempt, this.stopper.signal);
      }
    }
  }

  follow(run: string, after: number): AsyncGenerator<RunEvent> {
    return this.options.hub.follow(run, after, this.stopper.signal, this.options.lost);
  }

  /** Shows a run from these events, and from its own stream when they break off before its end. */
  async carry(view: RunView, run: string | null, turn: Turn | null, events: () => AsyncGenerator<RunEvent>): Promise<void> {
    const current: Current = { view, id: run, turn };
    this.current = current;
    this.options.begun(current);
    try {
      await this.drain(current, events());
    } catch (fault) {
      if (isAbort(fault)) return;
      await this.resume(current, fault);
    } finally {
      this.idle(current);
    }
  }

  private async drain(current: Current, events: AsyncGenerator<RunEvent>): Promise<void> {
    for (let going = events; ; ) {
      for await (const event of going) {
        this.options.lost(false);
        current.id ??= event.run_id;
        this.options.happened(current, event);
        if (isTerminal(event)) return;
      }
      if (!current.id) return;
      going = this.follow(current.id, current.view.sequence);
    }
  }

  private async resume(current: Current, fault: unknown): Promise<void> {
    if (!current.id) return this.options.refused(current, fault);
    try {
      await this.drain(current, this.follow(current.id, current.view.sequence));
    } catch (again) {
      if (isAbort(again) || (again instanceof Refused && again.status === 401)) return;
      const isGone = again instanceof Refused && again.status === 404;
      if (isGone && current.turn) current.turn.ended = true;
      current.view.add(notice(isGone ? "This answer is no longer kept." : wordsOf(again)));
    }
  }

  private idle(current: Current): void {
    if (current.view.status === "running") current.view.end("completed");
    current.view.thinks();
    if (this.current === current) this.current = null;
    this.options.lost(false);
    this.options.ended(current);
  }
}
