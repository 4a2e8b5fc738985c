// What a widget remembers of its conversation, in its tab alone: enough to show it again and to take up a run that goes on.

/** One question: `run` and `seen`, the last event's id, are known once its run has begun. */
export interface Turn {
  message: string;
  id: string;
  run: string | null;
  seen: number;
  ended: boolean;
  /** Where it stands beside an earlier turn: the act that asked for it, and that turn's run. */
  version?: { act: "regenerate" | "edit"; run: string };
}

export interface Kept {
  conversation: string | null;
  turns: Turn[];
}

export type Storage = Pick<globalThis.Storage, "getItem" | "setItem" | "removeItem">;

const MOST_TURNS = 30;

/** Reads and keeps a thread; without a storage, or with a full one, it is remembered no longer than the page stands. */
export class Thread {
  kept: Kept;

  constructor(
    private readonly storage: Storage | null,
    private readonly key: string,
    conversation: string | null = null,
  ) {
    this.kept = parsed(read(storage, key), conversation);
  }

  begin(message: string, id: string, version?: Turn["version"]): Turn {
    const turn: Turn = { message, id, run: null, seen: 0, ended: false, ...(version ? { version } : {}) };
    // One that never arrived was given up, and must not be sent by a reload later on.
    const earlier = this.kept.turns.filter((each) => each.run !== null);
    for (const each of earlier) each.ended = true;
    this.kept.turns = [...earlier, turn].slice(-MOST_TURNS);
    this.save();
    return turn;
  }

  /** Forgets the turn of that run and what followed it: another version takes its place. Gives all there were before. */
  cut(run: string): Turn[] {
    const before = this.kept.turns;
    const at = before.findIndex((each) => each.run === run);
    this.keep(at >= 0 ? before.slice(0, at) : before);
    return before;
  }

  keep(turns: Turn[]): void {
    this.kept.turns = turns;
    this.save();
  }

  /** Forgets a turn that was not taken. */
  drop(turn: Turn): void {
    this.kept.turns = this.kept.turns.filter((each) => each !== turn);
    this.save();
  }

  save(): void {
    try {
      this.storage?.setItem(this.key, JSON.stringify(this.kept));
    } catch {
      // A full or forbidden storage: the conversation is then not shown again after a reload.
    }
  }

  forget(): void {
    this.kept = { conversation: null, turns: [] };
    this.storage?.removeItem(this.key);
  }
}

function read(storage: Storage | null, key: string): unknown {
  try {
    return JSON.parse(storage?.getItem(key) ?? "null");
  } catch {
    return null;
  }
}

/** What was kept, as far as it is what it should be: a page's storage is everybody's who runs there. */
function parsed(value: unknown, conversation: string | null): Kept {
  const { conversation: kept = null, turns = [] } = (value ?? {}) as Partial<Kept>;
  const known = typeof kept === "string" ? kept : null;
  if (!Array.isArray(turns) || (conversation !== null && conversation !== known)) return { conversation, turns: [] };
  return { conversation: known, turns: turns.filter(isTurn) };
}

function isTurn(value: unknown): value is Turn {
  const turn = (value ?? {}) as Partial<Record<keyof Turn, unknown>>;
  return (
    typeof turn.message === "string" &&
    typeof turn.id === "string" &&
    (turn.run === null || typeof turn.run === "string") &&
    typeof turn.seen === "number" &&
    typeof turn.ended === "boolean"
  );
}

/** What a token says of its holder, its beginning and its end; nothing here trusts it, it only keeps one person's thread from another's. */
export function claimsOf(token: string | null): { holder: string; issued: number | null; expires: number | null } {
  try {
    const part = (token ?? "").split(".")[1] ?? "";
    const bytes = Uint8Array.from(atob(part.replaceAll("-", "+").replaceAll("_", "/")), (each) => each.charCodeAt(0));
    const { sub, org, iat, exp } = JSON.parse(new TextDecoder().decode(bytes)) as Record<string, unknown>;
    return { holder: `${String(org ?? "")} ${String(sub ?? "")}`, issued: moment(iat), expires: moment(exp) };
  } catch {
    return { holder: "somebody", issued: null, expires: null };
  }
}

function moment(claim: unknown): number | null {
  return typeof claim === "number" ? claim : null;
}
