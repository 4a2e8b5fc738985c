// The passages that searches and reads gave, by document, and where in them a citation points.

import type { Citation } from "./wire.ts";

/** What stands before the cited words, the words themselves, and what stands after. */
export type Around = [before: string, words: string, after: string];

interface Passage {
  text: string;
  start: number;
}

/** The passages of one conversation: a citation may point at what an earlier turn found. */
export class Passages {
  private readonly byDocument = new Map<string, Passage[]>();

  /** Takes up the passages of a tool's result, whichever tool it was: a list of them, or the one that was read. */
  learn(result: unknown): void {
    const items = (result as { items?: unknown } | null | undefined)?.items;
    for (const item of (Array.isArray(items) ? items : [result]) as Partial<Record<"document_id" | "text" | "start", unknown>>[]) {
      const { document_id: document, text, start } = item ?? {};
      if (typeof document === "string" && typeof text === "string" && typeof start === "number") {
        this.add(document, { text, start });
      }
    }
  }

  /** The citation within the first passage that holds it; null where none is known. */
  around(citation: Citation): Around | null {
    for (const { text, start } of this.byDocument.get(citation.document_id) ?? []) {
      const found = cut(text, citation.start - start, citation.end - start);
      if (found) return found;
    }
    return null;
  }

  private add(document: string, passage: Passage): void {
    const known = this.byDocument.get(document) ?? [];
    if (known.some((each) => each.start === passage.start && each.text === passage.text)) return;
    this.byDocument.set(document, [...known, passage]);
  }
}

/** Offsets count code points, and a text here counts UTF-16 units: so the text is taken apart by code points. */
export function cut(text: string, start: number, end: number): Around | null {
  const points = Array.from(text);
  if (!(start >= 0 && start < end && end <= points.length)) return null;
  const [before, words, after] = [points.slice(0, start), points.slice(start, end), points.slice(end)];
  return [before.join(""), words.join(""), after.join("")];
}
