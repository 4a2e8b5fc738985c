// The panel at the side: where a citation stands, in the document's own words.

import { download } from "./api.js";
import { button, fill, h, link } from "./dom.js";
import { placeOf } from "./words.js";

const panel = document.getElementById("panel");
let opener = null;

/**
 * Opens the passage a citation points to, the cited words marked in it: `around` is what stands before them, they
 * themselves, and what stands after, or nothing where only the quote is known. Focus comes back to what opened it.
 */
export function openCitation(citation, around, from) {
  opener = from;
  const place = placeOf(citation);
  fill(panel,
    h("header", {}, h("h2", { id: "panel-title", tabIndex: -1 }, `Source ${citation.marker}`), button("Close", close, { kind: "quiet" })),
    h("p", { class: "source-title" }, citation.title),
    place && h("p", { class: "source-place" }, place),
    quoteOf(citation, around),
    h("dl", { class: "facts" },
      h("dt", {}, "Characters"), h("dd", {}, `${citation.start}–${citation.end}`),
      h("dt", {}, "Document"), h("dd", { class: "mono" }, citation.document_id),
      /^https?:/.test(citation.uri) && [h("dt", {}, "Address"), h("dd", { class: "kept" }, link(citation.uri, citation.uri))]),
    fetcher(citation));
  panel.hidden = false;
  panel.querySelector("mark")?.scrollIntoView({ block: "nearest" });
  document.getElementById("panel-title").focus({ preventScroll: true });
}

function quoteOf(citation, around) {
  const [before, words, after] = around ?? ["", citation.quote, ""];
  return h("blockquote", { class: "source-quote" }, before, h("mark", {}, words), after);
}

/** The whole document, as a file: it is never opened as a page of this server. */
function fetcher(citation) {
  const said = h("p", { role: "status", class: "error" });
  const get = async () => {
    fill(said);
    try {
      await download(`v1/knowledge/documents/${encodeURIComponent(citation.document_id)}/content`, citation.title);
    } catch (fault) {
      fill(said, fault.message);
    }
  };
  return [button("Download the document", get), said];
}

/** Closes the panel, if it is open. */
export function close() {
  if (panel.hidden) return;
  panel.hidden = true;
  opener?.focus();
}

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") close();
});
