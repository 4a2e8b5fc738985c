// What the hub's own page reads beside a conversation, with a person's own token: its messages, the record, the documents.

import type { Archive } from "../context.ts";
import type { Hub } from "../hub.ts";
import type { Agent, Citation, KeptConversation, RecordedCall, Said, Summary } from "../wire.ts";
import type { Page } from "./frame.ts";

const KEPT_MS = 60_000;

export function archiveOf(hub: Hub): Archive {
  return {
    messages: (conversation) => messages(hub, conversation),
    summaries: async (conversation) => (await hub.get<Page<Summary>>(`v1/conversations/${encodeURIComponent(conversation)}/summaries`)).items,
    conversation: (id) => hub.get<KeptConversation>(`v1/conversations/${encodeURIComponent(id)}`),
    agents: async () => (await hub.get<Page<Agent>>("v1/agents")).items,
    call: (id) => hub.get<RecordedCall>(`v1/activity/${encodeURIComponent(id)}`),
    download: (citation) => download(hub, citation),
    choose: (conversation, run) => hub.post(`v1/conversations/${encodeURIComponent(conversation)}/branch`, { run_id: run }),
    rename: (conversation, title) => hub.change("PATCH", `v1/conversations/${encodeURIComponent(conversation)}`, { title }),
  };
}

async function messages(hub: Hub, conversation: string): Promise<Said[]> {
  const found: Said[] = [];
  for (let cursor: string | null = ""; cursor !== null; ) {
    const after: string = cursor && `&cursor=${encodeURIComponent(cursor)}`;
    const page: Page<Said> = await hub.get(`v1/conversations/${encodeURIComponent(conversation)}/messages?limit=100${after}`);
    found.push(...page.items);
    cursor = page.next_cursor;
  }
  return found;
}

/** Saves a document as a file: it is never opened as a page of the hub. */
async function download(hub: Hub, citation: Citation): Promise<void> {
  const content = await hub.file(`v1/knowledge/documents/${encodeURIComponent(citation.document_id)}/content`);
  const address = URL.createObjectURL(new Blob([content], { type: "application/octet-stream" }));
  const anchor = document.createElement("a");
  anchor.href = address;
  anchor.download = citation.title;
  anchor.click();
  setTimeout(() => URL.revokeObjectURL(address), KEPT_MS);
}
