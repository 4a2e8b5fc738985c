// Moments on the clock of another time zone, and the zones that this browser knows.

const SHOWN: Intl.DateTimeFormatOptions = { weekday: "short", day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit" };

/** Names that browsers go on using, and a server's list may no longer hold. */
const RENAMED: Readonly<Record<string, string>> = {
  "Africa/Asmera": "Africa/Asmara",
  "America/Buenos_Aires": "America/Argentina/Buenos_Aires",
  "America/Catamarca": "America/Argentina/Catamarca",
  "America/Coral_Harbour": "America/Atikokan",
  "America/Cordoba": "America/Argentina/Cordoba",
  "America/Godthab": "America/Nuuk",
  "America/Indianapolis": "America/Indiana/Indianapolis",
  "America/Jujuy": "America/Argentina/Jujuy",
  "America/Louisville": "America/Kentucky/Louisville",
  "America/Mendoza": "America/Argentina/Mendoza",
  "Asia/Calcutta": "Asia/Kolkata",
  "Asia/Katmandu": "Asia/Kathmandu",
  "Asia/Rangoon": "Asia/Yangon",
  "Asia/Saigon": "Asia/Ho_Chi_Minh",
  "Atlantic/Faeroe": "Atlantic/Faroe",
  "Europe/Kiev": "Europe/Kyiv",
  "Pacific/Enderbury": "Pacific/Kanton",
  "Pacific/Ponape": "Pacific/Pohnpei",
  "Pacific/Truk": "Pacific/Chuuk",
};

function named(zone: string): string {
  return RENAMED[zone] ?? zone;
}

/** The reader's own zone; UTC where the browser does not say. */
export function ownZone(): string {
  const found = new Intl.DateTimeFormat().resolvedOptions().timeZone;
  return !found || found === "Etc/Unknown" ? "UTC" : named(found);
}

/** All zones by name, UTC and the reader's own among them. */
export function zones(): string[] {
  const found = typeof Intl.supportedValuesOf === "function" ? Intl.supportedValuesOf("timeZone") : [];
  return [...new Set(["UTC", ownZone(), ...found.map(named)])].sort();
}

/** How a moment reads on the clock of a zone, and on the reader's own where that reads otherwise. */
export function clocks(iso: string, zone: string, own: string = ownZone(), locale?: string): { there: string; here: string | null } {
  const moment = new Date(iso);
  const here = read(moment, own, locale);
  const there = read(moment, zone, locale);
  return { there, here: there === here ? null : here };
}

function read(moment: Date, zone: string, locale?: string): string {
  try {
    return new Intl.DateTimeFormat(locale, { ...SHOWN, timeZone: zone }).format(moment);
  } catch {
    // A zone that the server knows and this browser does not.
    return `${new Intl.DateTimeFormat(locale, { ...SHOWN, timeZone: "UTC" }).format(moment)} UTC`;
  }
}
