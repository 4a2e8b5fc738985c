// Sources of documents: what is read, how up to date the documents are, what the last sync did; synced, added, changed and removed here.

import { badge, button, fill, go, h, time, type Child } from "../dom.ts";
import { isAbort, wordsOf, type Hub } from "../hub.ts";
import { visible } from "../letters.ts";
import { Acts } from "./acts.ts";
import { Cards } from "./cards.ts";
import { Confirm } from "./confirm.ts";
import { cronWords } from "./cron.ts";
import { writer } from "./documents.ts";
import { select } from "./fields.ts";
import { everyItem, frame, watch } from "./frame.ts";
import { following, LatestRun } from "./latest_run.ts";
import { heads } from "./records.ts";
import type { Schedule } from "./schedules.ts";
import { changeForm } from "./source_change.ts";
import { sourceForm } from "./source_form.ts";
import { CHANGES, KINDS, readsWhat, reportWords, type ChangeKind, type Counts, type Kind } from "./source_words.ts";
import type { RunLine } from "./task_run.ts";
import type { Task } from "./tasks.ts";
import { clocks } from "./zones.ts";

const PATH = "v1/knowledge/sources";
const EVERY_MS = 3_000;
/** While nothing is under way that is known of. */
const SELDOM_MS = 15_000;
const WORDS = "Folders, Google Drives and web sites whose files are documents here. A sync follows what is new, changed or gone there; nothing is ever changed there.";

export interface Source {
  source_id: string;
  kind: Kind;
  name: string;
  settings: Record<string, unknown>;
  audience: string;
  trust: string;
  /** Of its sync. */
  state: "idle" | "listing" | "applying";
  /** Those that one may see. */
  documents: number;
  task_id?: string;
  created_by?: string;
  failure?: string;
  rests_until?: string;
  synced_at?: string;
  report: { counts: Counts; failing: number; unknown_readers: number; unexpanded: string[]; notes: string[] };
}

interface Change {
  change_id: number;
  kind: ChangeKind;
  path: string;
  was?: string;
  why?: string;
  at: string;
}

/** A source with what is known of its task. */
interface Shown {
  source: Source;
  schedules: readonly Schedule[];
  run: RunLine | null;
}

interface Options {
  hub: Hub;
  signal: AbortSignal;
  /** Who is signed in, by e-mail address. */
  who: string;
  /** The tools that their role may use. */
  usable: ReadonlySet<string>;
}

/** The list, and the form for whoever may set one up. */
export async function showSources(main: HTMLElement, options: Options): Promise<void> {
  const { hub, signal, usable } = options;
  const place = frame(main, "Sources", WORDS);
  const said = h("p", { class: "said-of-it faint", role: "status" });
  const lost = h("p", { class: "error", role: "alert" });
  const none = h("p", { class: "empty", hidden: true }, "There are no sources yet.");
  const arrange = following(() => cards.all.map((card) => card.run), signal);
  const cards = new Cards<Shown, SourceCard>(({ source }) => cardOf(source), (item) => new SourceCard(item, { ...options, changed, removed }));

  async function load(): Promise<void> {
    const items = await shownSources(hub, signal);
    cards.show(items);
    none.hidden = items.length > 0;
    arrange();
  }

  function changed(words: string): void {
    fill(said, visible(words));
    arrange();
    void load().catch(() => undefined);
  }

  function removed(source: Source): void {
    const { name, documents } = source;
    cards.remove(cardOf(source));
    none.hidden = cards.all.length > 0;
    fill(said, `Removed: ${visible(name)}. ${documents ? `${counted(documents)} from it ${documents === 1 ? "is" : "are"} being deleted` : "No documents came from it"}.`);
    arrange();
  }

  async function added(source: Source): Promise<void> {
    adding.open = false;
    fill(said, `Added: ${visible(source.name)}. Nothing is read before the first sync.`);
    await load().catch(() => undefined);
  }

  const adding = h("details", { class: "adding" }, h("summary", { class: "button" }, "Add a source"), sourceForm({ hub, asking: () => fill(said), added }));
  await load();
  adding.open = !cards.all.length;
  fill(place, usable.has("source_add") ? adding : null, said, lost, h("section", {}, h("h2", {}, "Sources"), none, cards.node));
  const every = (): number => (cards.all.some((card) => card.isUnderWay) ? EVERY_MS : SELDOM_MS);
  void watch(load, { every, signal, lost });
}

/** Its buttons say what it is called: under another name it has another card. */
function cardOf({ source_id, name }: Source): string {
  return `${source_id} ${name}`;
}

async function shownSources(hub: Hub, signal: AbortSignal): Promise<Shown[]> {
  const [sources, tasks, schedules] = await Promise.all([
    everyItem<Source>(hub, PATH, signal), everyItem<Task>(hub, "v1/tasks?kind=knowledge_sync", signal), everyItem<Schedule>(hub, "v1/schedules", signal),
  ]);
  const runs = new Map(tasks.map((task) => [task.task_id, task.latest_run ?? null]));
  return sources.map((source) => ({
    source, schedules: schedules.filter((each) => each.task_id === source.task_id), run: runs.get(source.task_id ?? "") ?? null,
  }));
}

interface CardOptions extends Options {
  /** Something began or ended; the words say what. */
  changed: (words: string) => void;
  /** It is no more, as it was. */
  removed: (source: Source) => void;
}

class SourceCard {
  readonly node = h("li", { class: "card" });
  readonly run: LatestRun;
  private readonly about = h("div", { class: "card-about" });
  private readonly confirm = new Confirm();
  private readonly acts = new Acts();
  private readonly changes: Changes;
  private readonly remove: HTMLElement;
  private source: Source;
  private shown = "";

  constructor({ source }: Shown, private readonly options: CardOptions) {
    const { hub, signal, who, usable, changed } = options;
    const { source_id, name, task_id } = source;
    this.source = source;
    this.run = new LatestRun({
      hub, signal, reader: who, title: name, label: "Sync now", path: `${PATH}/${source_id}/sync`, mayCancel: usable.has("task_run_cancel"), changed,
    });
    this.changes = new Changes(hub, source_id, signal);
    this.remove = button("Remove", () => this.ask(), { kind: "quiet small", "aria-label": `Remove ${name}` });
    const buttons = [
      usable.has("task_run") && task_id && this.run.start,
      usable.has("schedule_create") && task_id && go(`schedules=${task_id}`, "Schedule", { class: "button quiet small", "aria-label": `Schedule ${name}` }),
      usable.has("source_remove") && this.remove,
    ].filter((each) => each instanceof HTMLElement);
    this.node.append(this.about, this.run.acts.said, this.acts.said, this.confirm.node, h("div", { class: "buttons" }, buttons), this.run.node, this.changes.node);
    if (usable.has("source_change")) this.node.append(changeForm({ hub, source, changed }));
  }

  /** Whether its documents may be other ones in a moment. */
  get isUnderWay(): boolean {
    return this.run.going !== null || this.source.state !== "idle";
  }

  show(item: Shown): void {
    const { source, schedules, run } = item;
    const shown = JSON.stringify([source, schedules]);
    if (shown !== this.shown) {
      fill(this.about, ...aboutOf(item));
      this.changes.learn(source);
    }
    this.source = source;
    this.shown = shown;
    this.run.listed(run);
  }

  private ask(): void {
    const { name, documents } = this.source;
    const words = [
      `Remove ${visible(name)}? Its schedules end. `,
      documents ? `${counted(documents)} that came from it and that you may see ${documents === 1 ? "is" : "are"} deleted, with all others from there` : "Whatever came from it is deleted",
      ", and for a while can be restored under Documents. What lies there itself is left alone.",
    ];
    this.confirm.ask({ words, act: "Remove and delete", does: () => this.end(), asker: this.remove });
  }

  private async end(): Promise<void> {
    const { hub, removed } = this.options;
    const path = `${PATH}/${this.source.source_id}`;
    const done = await this.acts.act("remove", (key) => hub.change<unknown>("DELETE", path, undefined, key));
    if (done) removed(this.source);
  }
}

function aboutOf({ source, schedules }: Shown): HTMLElement[] {
  const { kind, name, settings, audience, trust, documents, created_by, failure, rests_until, synced_at, report } = source;
  return [
    h("div", { class: "card-head" }, h("h2", { class: "card-title" }, visible(name)), stateOf(source)),
    h("dl", { class: "facts" },
      fact(KINDS[kind], visible(readsWhat(kind, settings))),
      fact("Last synced", synced_at ? time(synced_at) : "not yet"),
      fact("Next sync", ...nextOf(schedules)),
      fact("Last report", synced_at || Object.keys(report.counts).length ? reportWords(report.counts) : "none yet"),
      fact("Documents", documents ? `${documents} that you may see` : "none that you may see"),
      fact("For", audience === "client" ? "The firm and the client" : "The firm"),
      fact("Words of", writer(trust)),
      created_by ? fact("Set up by", visible(created_by)) : null),
    ...(failure ? [h("p", { class: "error kept" }, `It could not be read: ${visible(failure)}`)] : []),
    ...(rests_until && Date.parse(rests_until) > Date.now() ? [h("p", { class: "faint" }, "It is left alone until ", time(rests_until), ".")] : []),
    ...(report.failing ? [h("p", { class: "faint" }, `Could not be read when they were tried last: ${report.failing}.`)] : []),
    ...report.notes.map((note) => h("p", { class: "faint kept" }, visible(note))),
    ...(report.unknown_readers ? [h("p", { class: "faint" }, `Addresses that may read something there and are nobody’s of the firm: ${report.unknown_readers}. They open nothing here.`)] : []),
    ...(report.unexpanded.length ? [h("p", { class: "faint kept" }, `Groups whose members are not known, so that they open nothing here: ${visible(report.unexpanded.join(", "))}.`)] : []),
  ];
}

function stateOf({ state, failure, synced_at }: Source): HTMLElement {
  if (state !== "idle") return badge("syncing", "warn");
  if (failure) return badge("not read", "bad");
  return synced_at ? badge("synced", "good") : badge("not synced yet");
}

/** The earliest of its next runs; how often that one comes round. */
function nextOf(schedules: readonly Schedule[]): Child[] {
  const due = schedules.filter((each) => each.next_run_at !== null).sort((one, other) => Date.parse(one.next_run_at ?? "") - Date.parse(other.next_run_at ?? ""));
  const [first] = due;
  if (!first?.next_run_at) return [schedules.length ? "none while its schedule is paused" : "when somebody presses “Sync now”"];
  const { cron, time_zone, next_run_at } = first;
  const { there, here } = clocks(next_run_at, time_zone);
  return [
    h("time", { datetime: next_run_at, class: "next-run" }, there),
    h("span", { class: "faint" }, ` in ${time_zone}${here === null ? "" : `; where you are ${here}`} (`, cronWords(cron) ?? h("code", {}, cron), ")"),
  ];
}

function fact(name: string, ...value: Child[]): HTMLElement[] {
  return [h("dt", {}, name), h("dd", {}, ...value)];
}

function counted(documents: number): string {
  return documents === 1 ? "One document" : `${documents} documents`;
}

/** What the syncs did, item by item, newest first; read once somebody opens it. */
class Changes {
  readonly node: HTMLDetailsElement;
  private readonly which: HTMLSelectElement;
  private readonly body = h("tbody");
  private readonly table: HTMLElement;
  private readonly said = h("p", { class: "faint", role: "status" });
  private readonly older = button("Show older", () => this.load(this.next), { kind: "quiet small", hidden: true });
  private next: number | null = null;
  private asked = 0;

  constructor(private readonly hub: Hub, private readonly id: string, private readonly signal: AbortSignal) {
    this.which = select(`changes-${id}`, [["", "everything"], ...Object.entries(CHANGES)]);
    this.which.addEventListener("input", () => void this.load(null));
    this.table = h("div", { class: "scroll" }, h("table", { class: "ledger whole" },
      h("caption", { class: "unseen" }, "What changed, newest first"), heads(["When", "What", "Where", "Why"]), this.body));
    this.node = h("details", { class: "changes" }, h("summary", {}, "What changed, item by item"),
      h("p", { class: "line" }, h("label", { for: this.which.id }, "Show"), this.which), this.said, this.table, this.older);
    this.node.addEventListener("toggle", () => this.node.open && void this.load(null));
  }

  /** The source as it stands now: what could not be read is what one looks for first. */
  learn({ report }: Source): void {
    if (this.node.open) void this.load(null);
    else this.which.value = report.failing ? "failed" : "";
  }

  /** The newest, or what comes before an item. */
  private async load(before: number | null): Promise<void> {
    this.asked += 1;
    const { asked, which } = this;
    const path = `${PATH}/${this.id}/changes?limit=50${which.value && `&kind=${which.value}`}${before === null ? "" : `&before=${before}`}`;
    try {
      const { items, next_before } = await this.hub.get<{ items: Change[]; next_before: number | null }>(path, { signal: this.signal });
      if (asked !== this.asked) return;
      if (before === null) fill(this.body);
      this.body.append(...items.map(changeRow));
      this.next = next_before;
      this.older.hidden = next_before === null;
      this.table.hidden = !this.body.childElementCount;
      fill(this.said, this.table.hidden ? "Nothing of it that you may see." : "");
    } catch (fault) {
      if (!isAbort(fault)) fill(this.said, h("span", { class: "error" }, wordsOf(fault)));
    }
  }
}

function changeRow({ kind, path, was, why, at }: Change): HTMLElement {
  return h("tr", {},
    h("td", { class: "moment" }, time(at)), h("td", {}, badge(CHANGES[kind], kind === "failed" ? "bad" : "plain")),
    h("td", { class: "kept" }, was ? `${visible(was)} → ` : "", visible(path)), h("td", { class: "kept" }, visible(why ?? "")));
}
