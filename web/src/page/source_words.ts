// Sources of documents in words, and what a form's fields come to as the settings of one.

export type Kind = "folder" | "google_drive" | "web";

export const KINDS: Readonly<Record<Kind, string>> = { folder: "Folder", google_drive: "Google Drive", web: "Web site" };

export type ChangeKind = "added" | "replaced" | "renamed" | "removed" | "permissions" | "failed" | "kept_out";

/** What became of an item, in the order in which a report tells it. */
export const CHANGES: Readonly<Record<ChangeKind, string>> = {
  added: "added", replaced: "changed", renamed: "renamed or moved", removed: "removed", permissions: "given to other readers",
  failed: "could not be read", kept_out: "left out, as deleted here",
};

export type Counts = Partial<Record<ChangeKind, number>>;

/** What a sync did. */
export function reportWords(counts: Counts): string {
  const told = (Object.keys(CHANGES) as ChangeKind[]).flatMap((kind) => (counts[kind] ? [`${counts[kind]} ${CHANGES[kind]}`] : []));
  return told.join(", ") || "Nothing had changed";
}

/** What a form holds, all of it text; of the other kinds' fields nothing is taken. */
export interface Given {
  path: string;
  account: string;
  folder_id: string;
  drive_id: string;
  /** One address a line. */
  urls: string;
  below: string;
  pages: string;
  depth: string;
}

/** The settings as a source of this kind takes them; what was left empty is left out. */
export function settingsOf(kind: Kind, given: Given): Record<string, unknown> {
  switch (kind) {
    case "folder":
      return { path: given.path.trim() };
    case "google_drive":
      return filled({ account: given.account, folder_id: given.folder_id, drive_id: given.drive_id });
    case "web": {
      const counts = Object.entries(filled({ pages: given.pages, depth: given.depth })).map(([name, value]) => [name, Number(value)]);
      return { urls: given.urls.split(/\s+/).filter(Boolean), ...filled({ path: given.below }), ...Object.fromEntries(counts) };
    }
  }
}

function filled(values: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(values).flatMap(([name, value]) => (value.trim() ? [[name, value.trim()]] : [])));
}

/** What a source reads, as a person would say it. */
export function readsWhat(kind: Kind, settings: Readonly<Record<string, unknown>>): string {
  switch (kind) {
    case "folder":
      return text(settings.path);
    case "google_drive": {
      const places = [settings.folder_id && `folder ${text(settings.folder_id)}`, settings.drive_id && `shared drive ${text(settings.drive_id)}`];
      const account = settings.account ? `account ${text(settings.account)}` : "";
      return [places.filter(Boolean).join(" in ") || "All that is shown to it", account].filter(Boolean).join(", ");
    }
    case "web": {
      const urls = Array.isArray(settings.urls) ? settings.urls.map(text).join(", ") : text(settings.urls);
      const below = settings.path && settings.path !== "/" ? `below ${text(settings.path)}` : "";
      return [urls, below, settings.pages ? `${text(settings.pages)} pages at most` : ""].filter(Boolean).join(", ");
    }
  }
}

function text(value: unknown): string {
  return typeof value === "string" ? value : (JSON.stringify(value) ?? "");
}
