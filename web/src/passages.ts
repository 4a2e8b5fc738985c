// The passages that searches gave, by chunk, and where in them a citation points.

import type { Citation } from "./wire.ts";

/** What stands before the cited words, the words themselves, and what stands after. */
export type Around = [before: string, words: string, after: string];

/** The passages of one conversation: a citation may point at what an earlier turn found. */
export class Passages {
  private readonly byChunk = new Map<string, { text: string; start: number }>();

  /** Takes up the passages of a tool's result, whichever tool it was. */
  learn(result: unknown): void {
    const items = (result as { items?: unknown } | null | undefined)?.items;
    if (!Array.isArray(items)) return;
    for (const item of items as Partial<Record<"chunk_id" | "text" | "start", unknown>>[]) {
      const { chunk_id: chunk, text, start } = item ?? {};
      if (typeof chunk === "string" && typeof text === "string" && typeof start === "number") {
        this.byChunk.set(chunk, { text, start });
      }
    }
  }

  /** The citation within its passage; null where that is not known. */
  around(citation: Citation): Around | null {
    const passage = this.byChunk.get(citation.chunk_id);
    return passage ? cut(passage.text, citation.start - passage.start, citation.end - passage.start) : null;
  }
}

/** Offsets count code points, and a text here counts UTF-16 units: so the text is taken apart by code points. */
export function cut(text: string, start: number, end: number): Around | null {
  const points = Array.from(text);
  if (!(start >= 0 && start < end && end <= points.length)) return null;
  const [before, words, after] = [points.slice(0, start), points.slice(start, end), points.slice(end)];
  return [before.join(""), words.join(""), after.join("")];
}
