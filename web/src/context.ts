// What the parts of a conversation share: the hub, where citations open, and what only the hub's own page may read beside.

import type { Hub } from "./hub.ts";
import type { Around, Passages } from "./passages.ts";
import type { RunView } from "./run_view.ts";
import type { SaidView } from "./said_view.ts";
import type { Agent, Citation, KeptConversation, RecordedCall, Said, Summary } from "./wire.ts";

/** What the hub's own page reads with a person's `api` token; a widget's token opens none of it. */
export interface Archive {
  messages(conversation: string): Promise<Said[]>;
  /** The newest first. */
  summaries(conversation: string): Promise<Summary[]>;
  conversation(id: string): Promise<KeptConversation>;
  agents(): Promise<Agent[]>;
  call(id: string): Promise<RecordedCall>;
  download(citation: Citation): Promise<void>;
  /** Has the conversation go on with the version that this run is of. */
  choose(conversation: string, run: string): Promise<unknown>;
  rename(conversation: string, title: string): Promise<KeptConversation>;
}

export interface Context {
  readonly hub: Hub;
  /** Where the hub's own page is. */
  readonly home: URL;
  readonly archive: Archive | null;
  readonly passages: Passages;
  /** Opens a citation; focus comes back to `from`. */
  open(citation: Citation, around: Around | null, from: HTMLElement): void;
  /** Makes a change that takes more room, and keeps the end in view where it was. */
  grow(this: void, change: () => void): void;
  /** An approval was asked for or decided. */
  approval(id: string, state: string): void;
  /** Has an answer given again. */
  again(this: void, view: RunView, run: string): void;
  /** Puts another message in the place of one. */
  rewrite(this: void, said: SaidView, run: string, text: string): void;
  /** Shows the version that this run is of, and goes on with it; null where versions cannot be read. */
  readonly choose: ((run: string) => void) | null;
}
