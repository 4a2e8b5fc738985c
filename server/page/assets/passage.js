// The passages that searches gave, by chunk, and where in them a citation points.

/** The passages of one conversation: a citation may point at what an earlier turn found. */
export class Passages {
  constructor() {
    this.byChunk = new Map();
  }

  /** Takes up the passages of a tool's result, whichever tool it was. */
  learn(result) {
    for (const item of Array.isArray(result?.items) ? result.items : []) {
      if (typeof item?.chunk_id === "string" && typeof item.text === "string" && Number.isInteger(item.start)) {
        this.byChunk.set(item.chunk_id, { text: item.text, start: item.start });
      }
    }
  }

  /** What stands before the cited words, the words themselves, and what stands after; null where that is not known. */
  around(citation) {
    const passage = this.byChunk.get(citation.chunk_id);
    return passage ? cut(passage.text, citation.start - passage.start, citation.end - passage.start) : null;
  }
}

/** Offsets count code points, and a text here counts UTF-16 units: so the text is taken apart by code points. */
export function cut(text, start, end) {
  const points = Array.from(text);
  if (!(start >= 0 && start < end && end <= points.length)) return null;
  return [points.slice(0, start), points.slice(start, end), points.slice(end)].map((part) => part.join(""));
}
