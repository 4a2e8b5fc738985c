// Documents added beside a conversation, and what became of each.

import { fill, h } from "./dom.ts";
import { wordsOf, type Hub } from "./hub.ts";
import { notice, type Log } from "./log.ts";

/** The names of what is read, for a browser's choice of files; a test holds them to the parsers'. */
export const TAKEN =
  ".txt,.text,.log,.md,.markdown,.html,.htm,.xhtml,.csv,.tsv,.pdf,.docx,.docm,.dotx,.xlsx,.xlsm,.xltx,.pptx,.pptm,.ppsx,.potx,.eml,.msg,.zip";

interface Taken {
  title: string;
  outcome: string;
  status?: string;
  failure?: string | null;
  note?: string;
  error?: { message?: string };
}

/** Sends the files, and says in the log what became of them. */
export async function upload(hub: Hub, log: Log, files: readonly File[], engagement: string | null): Promise<void> {
  const names = files.length === 1 ? (files[0]?.name ?? "") : `${files.length} files`;
  const note = h("p", { class: "note", role: "status" }, `Uploading ${names}…`);
  log.begin();
  log.add(note);
  log.toEnd();
  try {
    const told = await hub.upload<{ items: Taken[] }>("v1/knowledge/documents?wait=true", files, engagement ? { engagement_id: engagement } : {});
    fill(note, told.items.map((item, place) => h("span", { class: "taken" }, takenIn(item, files[place]?.name ?? ""))));
  } catch (fault) {
    note.replaceWith(notice(`${names}: ${wordsOf(fault)}`));
  }
}

function takenIn(item: Taken, name: string): string {
  const title = item.title || name;
  if (item.outcome !== "done") return `${title} was not taken in: ${item.error?.message ?? item.outcome}`;
  if (item.status === "failed") return `${title} cannot be read: ${item.failure ?? "the reason is not known"}`;
  const said = item.note ? ` Of it, ${item.note}.` : "";
  return item.status === "ready" ? `${title} was taken in and can be searched.${said}` : `${title} was taken in; it can be searched in a moment.`;
}
