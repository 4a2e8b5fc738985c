// The panel at the side: where a citation stands, in the document's own words.

import type { Archive } from "./context.ts";
import { button, fill, h, icon, link } from "./dom.ts";
import { wordsOf } from "./hub.ts";
import type { Around } from "./passages.ts";
import type { Citation } from "./wire.ts";
import { faultOf, placeOf } from "./words.ts";

export class CitationPanel {
  readonly node = h("aside", { id: "panel", "aria-labelledby": "panel-title", hidden: true });
  private opener: HTMLElement | null = null;

  constructor(private readonly archive: Archive | null, private readonly home: URL) {}

  /** Opens the passage a citation points to, the cited words marked in it. Focus comes back to what opened it. */
  open(citation: Citation, around: Around | null, from: HTMLElement): void {
    this.opener = from;
    const place = placeOf(citation);
    const fault = faultOf(citation);
    const title = h("h2", { id: "panel-title", tabIndex: -1 }, `Source ${citation.marker}`);
    fill(this.node,
      h("header", {}, title, button(icon("close"), () => this.close(), { kind: "quiet round", "aria-label": "Close" })),
      h("p", { class: "source-title" }, citation.title),
      place ? h("p", { class: "source-place" }, place) : null,
      fault ? h("p", { class: "error" }, `${fault}.`) : null,
      quoteOf(citation, around),
      h("dl", { class: "facts" },
        h("dt", {}, "Characters"), h("dd", {}, `${citation.start}–${citation.end}`),
        h("dt", {}, "Document"), h("dd", { class: "mono small" }, citation.document_id),
        /^https?:/.test(citation.uri) ? [h("dt", {}, "Address"), h("dd", { class: "kept" }, link(citation.uri, citation.uri, this.home))] : null),
      this.fetcher(citation));
    this.node.hidden = false;
    this.node.querySelector("mark")?.scrollIntoView({ block: "nearest" });
    title.focus({ preventScroll: true });
  }

  close(): void {
    if (this.node.hidden) return;
    this.node.hidden = true;
    this.opener?.focus();
  }

  /** The whole document, as a file: it is never opened as a page of the hub. */
  private fetcher(citation: Citation): Node[] {
    const { archive } = this;
    if (!archive) return [];
    const said = h("p", { role: "status", class: "error" });
    const get = async (): Promise<void> => {
      fill(said);
      await archive.download(citation).catch((fault: unknown) => fill(said, wordsOf(fault)));
    };
    return [button("Download the document", get), said];
  }
}

function quoteOf(citation: Citation, around: Around | null): HTMLElement {
  const [before, words, after] = around ?? ["", citation.quote, ""];
  return h("blockquote", { class: "source-quote" }, before, h("mark", {}, words), after);
}
