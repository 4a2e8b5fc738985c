// When something is done again and again: how often, at what time, on which clock; what comes of the choices is said below them.

import { fill, h } from "../dom.ts";
import { cronOf, cronWords, type Choice } from "./cron.ts";
import { row, select, type Option } from "./fields.ts";
import { ownZone, zones } from "./zones.ts";

const OFTEN: readonly Option[] = [
  ["workdays", "Monday to Friday"], ["daily", "Every day"], ["weekly", "Every week"], ["monthly", "Every month"], ["cron", "By a cron expression"],
];
const WEEKDAYS: readonly Option[] = [
  ["MON", "Monday"], ["TUE", "Tuesday"], ["WED", "Wednesday"], ["THU", "Thursday"], ["FRI", "Friday"], ["SAT", "Saturday"], ["SUN", "Sunday"],
];
const DAYS: readonly Option[] = [
  ...Array.from({ length: 28 }, (_, day): Option => [String(day + 1), String(day + 1)]), ["L", "the last"],
];
const NEVER = "never";

export class Times {
  readonly node: HTMLElement;
  /** By the names that a refusal calls them. */
  readonly named: Readonly<Record<string, HTMLElement>>;
  private readonly often: HTMLSelectElement;
  private readonly weekday = select("schedule-weekday", WEEKDAYS, "MON");
  private readonly day = select("schedule-day", DAYS, "1");
  private readonly at = h("input", { id: "schedule-at", type: "time", value: "07:00", required: true });
  private readonly cron = h("input", { id: "schedule-cron", type: "text", value: "0 7 * * MON-FRI", maxlength: 200, required: true, autocomplete: "off", spellcheck: "false", class: "mono" });
  private readonly zone = select("schedule-zone", zones().map((name) => [name, name.replaceAll("_", " ")] as const), ownZone());
  private readonly outcome = h("p", { class: "outcome faint", role: "status" });
  private readonly rows: Record<"weekday" | "day" | "at" | "cron" | "zone", HTMLElement>;

  /** `never`: what it is called to set no time, which is the choice to begin with where it is offered. */
  constructor(never: string | null = null) {
    this.often = select("schedule-often", never === null ? OFTEN : [[NEVER, never], ...OFTEN]);
    this.rows = {
      weekday: row("On", this.weekday), day: row("On day", this.day), at: row("At", this.at), cron: row("Cron expression", this.cron),
      zone: row("Time zone", this.zone),
    };
    this.named = { cron: this.cron, time_zone: this.zone };
    this.node = h("div", { class: "times", on: { input: () => this.settle() } },
      row("How often", this.often), this.rows.weekday, this.rows.day, this.rows.at, this.rows.cron, this.rows.zone, this.outcome);
    this.settle();
  }

  /** Null: at no time. */
  asked(): { cron: string; time_zone: string } | null {
    const { choice } = this;
    return choice && { cron: cronOf(choice), time_zone: this.zone.value };
  }

  private get choice(): Choice | null {
    const often = this.often.value;
    return often === NEVER ? null : { often: often as Choice["often"], at: this.at.value, weekday: this.weekday.value, day: this.day.value, cron: this.cron.value };
  }

  /** Shows the fields that the choice takes, and what it comes to. */
  private settle(): void {
    const { choice } = this;
    const often = choice?.often ?? NEVER;
    this.rows.weekday.hidden = often !== "weekly";
    this.rows.day.hidden = often !== "monthly";
    this.rows.at.hidden = this.at.disabled = often === "cron" || choice === null;
    this.rows.cron.hidden = this.cron.disabled = often !== "cron";
    this.rows.zone.hidden = choice === null;
    if (choice === null) {
      fill(this.outcome);
      return;
    }
    const cron = cronOf(choice);
    // So that whoever turns to the expression begins with what was chosen.
    if (often !== "cron") this.cron.value = cron;
    fill(this.outcome, cronWords(cron) ?? "Five fields: minute, hour, day of the month, month, day of the week", " ", h("code", {}, cron));
  }
}
