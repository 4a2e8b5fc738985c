// Cron expressions in words and from the choices of a form. What is not surely understood has no words: the expression
// itself is always shown beside them.

const DAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS = [
  "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December",
];
const ANY = "*";

/** The words for an expression of five fields, or null. */
export function cronWords(cron: string): string | null {
  const [minute, hour, day, month, weekday, ...more] = cron.trim().split(/\s+/);
  if (!minute || !hour || !day || !month || !weekday || more.length) return null;
  const days = daysOf(day, month, weekday);
  const times = timesOf(minute, hour);
  if (days === null || times === null) return null;
  return days === "" ? capital(times.startsWith("at") ? `every day ${times}` : times) : capital(`${days} ${times}`);
}

/** On which days; "" for every day, null where there are no words. */
function daysOf(day: string, month: string, weekday: string): string | null {
  if (day !== ANY && weekday !== ANY) return null; // either would do: that is more than a few words
  const months = month === ANY ? "" : namesOf(month, 1, MONTHS);
  if (months === null) return null;
  if (weekday !== ANY) {
    const names = weekdaysOf(weekday);
    return names && (months ? `${names} in ${months}` : names);
  }
  if (day === ANY) return months && `every day in ${months}`;
  const which = day.toUpperCase() === "L" ? "the last day" : isNumber(day, 1, 31) ? `day ${Number(day)}` : null;
  return which && `on ${which} of ${months || "every month"}`;
}

function weekdaysOf(field: string): string | null {
  const range = /^(\w+)-(\w+)$/.exec(field);
  if (!range) {
    const names = namesOf(field, 0, [...DAYS, DAYS[0] ?? ""]);
    return names && `every ${names}`;
  }
  const [from, to] = [dayOf(range[1] ?? ""), dayOf(range[2] ?? "")];
  return from === null || to === null || from >= to ? null : `${DAYS[from % 7]} to ${DAYS[to % 7]}`;
}

function dayOf(word: string): number | null {
  if (isNumber(word, 0, 7)) return Number(word);
  const found = DAYS.findIndex((name) => name.slice(0, 3).toUpperCase() === word.toUpperCase());
  return found < 0 ? null : found;
}

/** A list of numbers or of names' first three letters, as the names. */
function namesOf(field: string, first: number, names: readonly string[]): string | null {
  const found = field.split(",").map((word) => isNumber(word, first, first + names.length - 1)
    ? names[Number(word) - first]
    : names.find((name) => name.slice(0, 3).toUpperCase() === word.toUpperCase()));
  return found.every((name) => name !== undefined) ? listed(found) : null;
}

/** At which times of those days; null where there are no words. */
function timesOf(minute: string, hour: string): string | null {
  const step = /^\*\/(\d{1,2})$/.exec(minute);
  if (hour === ANY) {
    if (minute === ANY) return "every minute";
    if (step && 60 % Number(step[1]) === 0) return Number(step[1]) === 1 ? "every minute" : `every ${Number(step[1])} minutes`;
    if (!isNumber(minute, 0, 59)) return null;
    return Number(minute) === 0 ? "every hour" : `every hour at ${Number(minute)} minutes past`;
  }
  const hours = hour.split(",");
  if (!isNumber(minute, 0, 59) || !hours.every((each) => isNumber(each, 0, 23))) return null;
  return `at ${listed(hours.map((each) => `${two(each)}:${two(minute)}`))}`;
}

function isNumber(word: string, least: number, most: number): boolean {
  return /^\d{1,2}$/.test(word) && Number(word) >= least && Number(word) <= most;
}

function two(number: string): string {
  return number.padStart(2, "0");
}

function listed(words: readonly string[]): string {
  return words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;
}

function capital(words: string): string {
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** What the form offers; `at` is HH:MM, `weekday` MON to SUN, `day` 1 to 31 or L for the last. */
export interface Choice {
  often: "daily" | "workdays" | "weekly" | "monthly" | "cron";
  at: string;
  weekday: string;
  day: string;
  cron: string;
}

/** The expression that a choice stands for; what was not filled in is left to the server to refuse. */
export function cronOf({ often, at, weekday, day, cron }: Choice): string {
  if (often === "cron") return cron.trim();
  const [hour = "", minute = ""] = at.split(":");
  const time = `${Number(minute)} ${Number(hour)}`;
  switch (often) {
    case "daily":
      return `${time} * * *`;
    case "workdays":
      return `${time} * * MON-FRI`;
    case "weekly":
      return `${time} * * ${weekday}`;
    case "monthly":
      return `${time} ${day} * *`;
  }
}
