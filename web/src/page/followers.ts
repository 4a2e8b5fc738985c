// Which runs are followed as they go: a few at once, each by one stream, and none once the view is left.

/** Streams at once: a browser opens six connections to one server, and what a person presses needs some of them. */
export const MOST = 3;

/** A run that has not ended; `isOwn`: begun by a press in this view. */
export interface Going {
  id: string;
  status: string;
  isOwn: boolean;
}

/** The order in which runs are worth following: what was pressed here, then what moves, then what waits for a person. */
export function inOrder(runs: readonly Going[]): string[] {
  const rank = ({ isOwn, status }: Going): number => (status === "waiting" ? 2 : isOwn ? 0 : 1);
  return [...runs].sort((one, other) => rank(one) - rank(other)).map(({ id }) => id);
}

export class Followers {
  private readonly going = new Map<string, AbortController>();

  /** `follow` shows one run until it ends or `signal` says stop; it tells its faults itself. */
  constructor(private readonly follow: (id: string, signal: AbortSignal) => Promise<void>, private readonly left: AbortSignal) {
    left.addEventListener("abort", () => this.keep([]));
  }

  /** Follows the first few of these, and none but them. */
  keep(ids: readonly string[]): void {
    const wanted = new Set(this.left.aborted ? [] : ids.slice(0, MOST));
    for (const [id, stopper] of this.going) {
      if (wanted.has(id)) continue;
      this.going.delete(id);
      stopper.abort();
    }
    for (const id of wanted) if (!this.going.has(id)) this.begin(id);
  }

  private begin(id: string): void {
    const stopper = new AbortController();
    this.going.set(id, stopper);
    void this.follow(id, stopper.signal).finally(() => {
      if (this.going.get(id) === stopper) this.going.delete(id);
    });
  }
}
