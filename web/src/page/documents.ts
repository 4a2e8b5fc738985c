// What the firm's agent can read: added, deleted, brought back for as long as that is possible, and whose words it is.

import { button, fill, h, stateBadge, time } from "../dom.ts";
import { isAbort, pause, wordsOf, type Hub } from "../hub.ts";
import { visible } from "../letters.ts";
import { ProgressBar } from "../progress_bar.ts";
import { TAKEN } from "../uploads.ts";
import { Acts } from "./acts.ts";
import { Confirm } from "./confirm.ts";
import { frame, type Page } from "./frame.ts";
import { Listing } from "./listing.ts";

const PATH = "v1/knowledge/documents";
const DELETED_PATH = "v1/knowledge/deleted-documents";
const POLL_MS = 1500;
const UNFINISHED = ["queued", "parsing", "embedding"];
const DAY_MS = 86_400_000;
/** Those who act on what others uploaded, too. */
const MANAGING = ["MANAGER", "PARTNER", "SYSTEM_ADMIN"];
/** Who may have written a file; the first is what counts where nobody says it. */
export const WRITERS = { external: "Somebody else", client: "A client", internal: "The firm" } as const;

export function writer(trust: string | undefined): string {
  return Object.entries(WRITERS).find(([value]) => value === trust)?.[1] ?? "";
}

/** What others wrote, whoever took it in. */
const MAIL = ["message/rfc822", "application/vnd.ms-outlook"];

function writers(label?: string): HTMLSelectElement {
  return h("select", { "aria-label": label }, Object.entries(WRITERS).map(([value, words]) => h("option", { value }, words)));
}

interface Document {
  document_id: string;
  title: string;
  media_type: string;
  /** The upload inside of which it came. */
  parent_id?: string;
  status: string;
  failure?: string | null;
  progress?: number;
  message?: string;
  audience?: string | null;
  trust?: string;
  uploaded_by: string;
  created_at: string;
}

interface Deleted {
  document_id: string;
  title: string;
  uploaded_by: string;
  deleted_at: string;
  restorable_until: string;
}

/** `restore_days`: as long what is deleted now can be restored. */
type DeletedPage = Page<Deleted> & { restore_days: number };

interface Options {
  hub: Hub;
  signal: AbortSignal;
  /** Who is signed in, by e-mail address, and their role. */
  who: string;
  role: string;
  /** The tools that their role may use. */
  usable: ReadonlySet<string>;
}

export async function showDocuments(main: HTMLElement, options: Options): Promise<void> {
  const place = frame(main, "Documents", "What answers are drawn from, and cite.");
  const view = new DocumentsView(options);
  await view.load();
  fill(place, view.node);
  void view.follow();
}

class DocumentsView {
  readonly node: HTMLElement;
  private readonly documents: Listing<Document>;
  private readonly deleted: Listing<Deleted>;
  private readonly bin: HTMLElement;
  /** What became of an upload. */
  private readonly taken = h("div", { role: "status" });
  private readonly said = h("p", { class: "said-of-it faint", role: "status" });
  private readonly lost = h("p", { class: "error", role: "alert" });
  private restoreDays = 0;
  private isFollowing = false;

  constructor(private readonly options: Options) {
    const { hub, signal, who, role, usable } = options;
    const mayDelete = usable.has("document_delete");
    const maySayWriter = usable.has("document_trust_set");
    const isTheirs = (item: Document): boolean => item.uploaded_by === who || MANAGING.includes(role);
    const idOf = ({ document_id }: { document_id: string }): string => document_id;
    const act = (words: string): HTMLElement => h("span", { class: "unseen" }, words);
    this.documents = new Listing<Document>({
      hub, signal, path: PATH, idOf, caption: "Documents", none: "No documents yet. Drop files above.",
      columns: ["Title", "State", "For", "Words of", "Added", ...(mayDelete ? [act("Delete")] : [])],
      row: (item) => new DocumentRow(item, {
        hub, mayDelete: mayDelete ? isTheirs(item) : null, maySayWriter: maySayWriter && isTheirs(item), until: () => this.until(), gone: (each) => this.gone(each),
      }),
    });
    this.deleted = new Listing<Deleted>({
      hub, signal, path: DELETED_PATH, idOf, caption: "Deleted documents", none: "",
      columns: ["Title", "Can be restored until", "Deleted", "Uploaded by", act("Restore")],
      row: (item) => new DeletedRow(item, hub, (each) => this.restored(each)),
    });
    this.bin = h("section", { class: "deleted", hidden: true }, h("h2", {}, "Deleted"), this.deleted.node);
    const uploaded = async (): Promise<void> => {
      await this.load();
      void this.follow();
    };
    this.node = h("div", {}, dropZone(hub, this.taken, uploaded), this.taken, this.said, this.lost, this.documents.node, this.bin);
  }

  async load(): Promise<void> {
    await Promise.all([this.documents.load(), this.options.usable.has("document_restore") && this.loadDeleted()]);
  }

  /** Reads the list again until nothing in it is still to be made ready. */
  async follow(): Promise<void> {
    if (this.isFollowing) return;
    this.isFollowing = true;
    const { signal } = this.options;
    while (!signal.aborted && this.documents.items.some((item) => UNFINISHED.includes(item.status))) {
      try {
        await pause(POLL_MS, signal);
        await this.documents.load();
        fill(this.lost);
      } catch (fault) {
        if (!isAbort(fault)) fill(this.lost, `${wordsOf(fault)} Trying again…`);
      }
    }
    this.isFollowing = false;
  }

  private async loadDeleted(): Promise<void> {
    const page = await this.deleted.load<DeletedPage>();
    this.restoreDays = page.restore_days;
    this.bin.hidden = !this.deleted.items.length;
  }

  /** Until when what is deleted now can be restored; null: not at all. */
  private until(): string | null {
    return this.restoreDays ? new Date(Date.now() + this.restoreDays * DAY_MS).toISOString() : null;
  }

  private async gone({ document_id, title }: Document): Promise<void> {
    this.documents.remove(document_id);
    fill(this.said, `Deleted: ${visible(title)}.`);
    await this.again();
    const until = this.deleted.items.find((each) => each.document_id === document_id)?.restorable_until;
    if (until) fill(this.said, `Deleted: ${visible(title)}. It can be restored below until `, time(until), ".");
  }

  private async restored({ document_id, title }: Deleted): Promise<void> {
    this.deleted.remove(document_id);
    fill(this.said, `Restored: ${visible(title)}. It can be searched as soon as it is ready.`);
    await this.again();
    void this.follow();
  }

  private async again(): Promise<void> {
    try {
      await this.load();
      fill(this.lost);
    } catch (fault) {
      if (!isAbort(fault)) fill(this.lost, wordsOf(fault));
    }
  }
}

interface DocumentRowOptions {
  hub: Hub;
  /** Null: there is no column for it. */
  mayDelete: boolean | null;
  /** Whose words it holds, where nothing else says it. */
  maySayWriter: boolean;
  /** Until when what is deleted now can be restored; null: not at all. */
  until: () => string | null;
  gone: (item: Document) => Promise<void>;
}

class DocumentRow {
  readonly node: HTMLElement;
  private readonly about = h("div");
  private readonly confirm = new Confirm();
  private readonly acts = new Acts();
  private readonly cells = [h("td"), h("td"), h("td", { class: "writer" }), h("td")] as const;
  private readonly remove: HTMLElement;
  private readonly change: HTMLElement;
  private shown = "";

  constructor(private item: Document, private readonly options: DocumentRowOptions) {
    this.remove = button("Delete", () => this.ask(), { kind: "quiet small", "aria-label": `Delete ${item.title}` });
    this.change = button("Change", () => this.askWriter(), { kind: "quiet small", "aria-label": `Change whose words ${item.title} holds` });
    this.node = h("tr", {}, h("td", {}, this.about, this.acts.said, this.confirm.node), [...this.cells],
      options.mayDelete !== null && h("td", { class: "act" }, options.mayDelete && this.remove));
  }

  show(item: Document): void {
    const shown = JSON.stringify(item);
    if (shown === this.shown) return;
    this.item = item;
    this.shown = shown;
    const [state, audience, words, added] = this.cells;
    fill(this.about, item.title, item.failure && h("p", { class: "error" }, item.failure), item.progress !== undefined && progressOf(item));
    fill(state, stateBadge(item.status));
    fill(audience, item.audience ?? "");
    // Of what a source brings the hub says so itself: the list does not tell it apart.
    const isSaidElsewhere = item.parent_id !== undefined || MAIL.includes(item.media_type);
    fill(words, writer(item.trust), " ", this.options.maySayWriter && !isSaidElsewhere && this.change);
    fill(added, time(item.created_at));
  }

  private ask(): void {
    const until = this.options.until();
    const words = [
      `Delete ${visible(this.item.title)}, with its earlier versions and what came inside of it? No answer can cite it any more. `,
      until === null ? "It cannot be restored." : ["It can be restored until ", h("strong", {}, time(until)), "; then it is gone for good."],
    ];
    this.acts.clear();
    this.confirm.ask({ words, act: until === null ? "Delete for good" : "Delete now", does: () => this.end(), asker: this.remove });
  }

  private askWriter(): void {
    const whose = writers(`Whose words ${this.item.title} holds`);
    whose.value = this.item.trust ?? "";
    const words = [
      `Whose words does ${visible(this.item.title)} hold, with its other versions and what came inside of it? `, whose,
      " After reading what others wrote, the agent asks before it acts; after the firm’s own words it may act unasked.",
    ];
    this.acts.clear();
    this.confirm.ask({ words, act: "Change it", does: () => this.sayWriter(whose.value), asker: this.change });
  }

  private async sayWriter(trust: string): Promise<void> {
    const path = `${PATH}/${this.item.document_id}/trust`;
    const done = await this.acts.act(`trust ${trust}`, (key) => this.options.hub.change<Document>("PUT", path, { trust }, key));
    if (done) this.show(done.answer);
  }

  private async end(): Promise<void> {
    const path = `${PATH}/${this.item.document_id}`;
    const done = await this.acts.act("delete", (key) => this.options.hub.change<unknown>("DELETE", path, undefined, key));
    if (done) await this.options.gone(this.item);
  }
}

class DeletedRow {
  readonly node: HTMLElement;
  private readonly acts = new Acts();
  private readonly title = h("div");
  private readonly cells = [h("td"), h("td"), h("td")] as const;

  constructor(private item: Deleted, private readonly hub: Hub, private readonly restored: (item: Deleted) => Promise<void>) {
    const restore = button("Restore", () => this.restore(), { kind: "small", "aria-label": `Restore ${item.title}` });
    this.node = h("tr", {}, h("td", {}, this.title, this.acts.said), [...this.cells], h("td", { class: "act" }, restore));
  }

  show(item: Deleted): void {
    this.item = item;
    const [until, deleted, uploader] = this.cells;
    fill(this.title, item.title);
    fill(until, time(item.restorable_until));
    fill(deleted, time(item.deleted_at));
    fill(uploader, item.uploaded_by);
  }

  private async restore(): Promise<void> {
    const path = `${PATH}/${this.item.document_id}/restore`;
    const done = await this.acts.act("restore", (key) => this.hub.post<unknown>(path, undefined, key));
    if (done) await this.restored(this.item);
  }
}

/** How far a document has come that is not ready yet. */
function progressOf({ title, progress, message }: Document): HTMLElement {
  const bar = new ProgressBar(`Progress of ${title}`);
  bar.show(progress ?? null, message ?? "");
  return h("div", {}, bar.node, h("p", { class: "faint small" }, message ?? ""));
}

function dropZone(hub: Hub, said: HTMLElement, done: () => Promise<void>): HTMLElement {
  const input = h("input", { type: "file", id: "files", multiple: true, class: "unseen", accept: TAKEN });
  const words = "Drop files here, or choose them. Text, Markdown, HTML, PDF, Word, Excel or CSV.";
  const zone = h("div", { class: "drop" }, h("label", { for: "files" }, h("strong", {}, "Add documents"), h("span", {}, words)), input);
  const whose = writers();
  whose.id = "whose";
  const choice = h("p", { class: "whose" }, h("label", { for: "whose" }, "Whose words are these?"), whose,
    h("span", { class: "faint small" }, "After reading what others wrote, the agent asks before it acts. E-mail always counts as others' words."));
  const take = async (files: File[]): Promise<void> => {
    if (!files.length) return;
    fill(said, h("p", { class: "faint" }, `Uploading ${files.length === 1 ? files[0]?.name : `${files.length} files`}…`));
    try {
      // What nobody says anything of is somebody else's: a client has no choice to make.
      await hub.upload(PATH, files, whose.value === "external" ? {} : { trust: whose.value });
      fill(said, h("p", { class: "faint" }, "Taken in; they can be searched as soon as they are ready."));
      await done();
    } catch (fault) {
      if (!isAbort(fault)) fill(said, h("p", { class: "error", role: "alert" }, wordsOf(fault)));
    }
  };
  input.addEventListener("change", () => {
    void take([...(input.files ?? [])]).then(() => {
      input.value = "";
    });
  });
  zone.addEventListener("dragover", (event) => {
    event.preventDefault();
    zone.classList.add("over");
  });
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    void take([...(event.dataTransfer?.files ?? [])]);
  });
  return h("div", {}, choice, zone);
}
