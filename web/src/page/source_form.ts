// Sets a source of documents up: what is read, whose words it holds, who sees it, and when it is synced.

import { h } from "../dom.ts";
import type { Hub } from "../hub.ts";
import { Acts } from "./acts.ts";
import { WRITERS } from "./documents.ts";
import { mark, row, select, type Option } from "./fields.ts";
import { KINDS, settingsOf, type Given, type Kind } from "./source_words.ts";
import type { Source } from "./sources.ts";
import { Times } from "./times.ts";

const AUDIENCES: readonly Option[] = [["firm", "The firm"], ["client", "The firm and the client"]];

interface FormOptions {
  hub: Hub;
  /** Another one is asked for. */
  asking: () => void;
  added: (source: Source) => Promise<void>;
}

export function sourceForm({ hub, asking, added }: FormOptions): HTMLElement {
  const acts = new Acts();
  const fields = new Fields();
  const submit = async (event: Event): Promise<void> => {
    event.preventDefault();
    asking();
    const asked = fields.asked();
    const done = await acts.act(JSON.stringify(asked), (key) => hub.post<Source>("v1/knowledge/sources", asked, key));
    mark(fields.named, acts.said.textContent ?? "");
    if (!done) return;
    fields.clear();
    await added(done.answer);
  };
  return h("form", { class: "sheet schedule-form", "aria-label": "New source", on: { submit: (event: Event) => void submit(event) } },
    h("h2", {}, "New source"), fields.node, acts.said,
    h("div", { class: "buttons" }, h("button", { type: "submit", class: "button primary" }, "Add source")));
}

class Fields {
  readonly node: HTMLElement;
  private readonly kind = select("source-kind", Object.entries(KINDS));
  private readonly name = line("name", { required: true, maxlength: 120 });
  private readonly given: Readonly<Record<keyof Given, HTMLInputElement | HTMLTextAreaElement>> = {
    path: line("path", { placeholder: "/srv/papers/acme" }),
    account: line("account"), folder_id: line("folder"), drive_id: line("drive"),
    urls: h("textarea", { id: "source-urls", rows: 2, spellcheck: "false", autocomplete: "off", placeholder: "https://www.example.org/guidance/" }),
    below: line("below", { placeholder: "/guidance/" }), pages: line("pages", { type: "number", placeholder: "200" }), depth: line("depth", { type: "number", placeholder: "5" }),
  };
  private readonly trust = select("source-trust", Object.entries(WRITERS));
  private readonly audience = select("source-audience", AUDIENCES);
  private readonly engagement = line("engagement");
  private readonly times = new Times("Only by hand");
  private readonly rows: Readonly<Record<Kind, readonly HTMLElement[]>>;

  constructor() {
    const { path, account, folder_id, drive_id, urls, below, pages, depth } = this.given;
    this.rows = {
      folder: [row("Folder on the server", path)],
      google_drive: [row("Folder, by its id or address (left out: all)", folder_id), row("Shared drive, by its id", drive_id), row("Account, where there are several", account)],
      web: [row("First pages, one a line", urls), row("Only paths that begin with", below), row("Pages at most", pages), row("Links from a first page at most", depth)],
    };
    this.node = h("div", { class: "schedule-fields", on: { input: () => this.settle() } },
      row("Kind", this.kind), row("Name", this.name), Object.values(this.rows).flat(),
      row("Whose words are there?", this.trust), row("Who may find them?", this.audience), row("Engagement’s id, if any", this.engagement), this.times.node,
      h("p", { class: "outcome faint" }, "After reading what others wrote, the agent asks before it acts. Which folders and accounts may be read is set by whoever operates the server."));
    this.settle();
  }

  /** By the names that a refusal calls them. */
  get named(): Record<string, HTMLElement> {
    const { below, ...given } = this.given;
    return { ...given, ...this.times.named, ...(this.chosen === "web" ? { path: below } : {}), name: this.name, engagement_id: this.engagement };
  }

  asked(): Record<string, unknown> {
    const given = Object.fromEntries(Object.entries(this.given).map(([name, field]) => [name, field.value])) as Record<keyof Given, string>;
    const engagement = this.engagement.value.trim();
    return {
      kind: this.chosen, name: this.name.value.trim(), settings: settingsOf(this.chosen, given), audience: this.audience.value, trust: this.trust.value,
      ...(engagement ? { engagement_id: engagement } : {}), ...this.times.asked(),
    };
  }

  /** Forgets what is another source's; the choices stay as they were made. */
  clear(): void {
    for (const field of [this.name, ...Object.values(this.given)]) field.value = "";
  }

  /** Shows the fields that the kind takes. */
  private settle(): void {
    const { chosen } = this;
    for (const [kind, rows] of Object.entries(this.rows)) for (const each of rows) each.hidden = kind !== chosen;
    this.given.path.required = chosen === "folder";
    this.given.urls.required = chosen === "web";
    this.engagement.required = this.audience.value === "client";
  }

  private get chosen(): Kind {
    return this.kind.value as Kind;
  }
}

function line(name: string, options: Record<string, string | number | boolean> = {}): HTMLInputElement {
  return h("input", { id: `source-${name}`, type: "text", autocomplete: "off", spellcheck: "false", maxlength: 2000, ...options });
}
