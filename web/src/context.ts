// What the parts of a conversation share: the hub, where citations open, and what only the hub's own page may read beside.

import type { Hub } from "./hub.ts";
import type { Around, Passages } from "./passages.ts";
import type { Citation, RecordedCall, Said } from "./wire.ts";

/** What the hub's own page reads with a person's `api` token; a widget's token opens none of it. */
export interface Archive {
  messages(conversation: string): Promise<Said[]>;
  title(conversation: string): Promise<string>;
  call(id: string): Promise<RecordedCall>;
  download(citation: Citation): Promise<void>;
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
}
