// Who speaks in a conversation, and how far at most without asking; on the hub's own page also the choice of another.

import { fill, h } from "./dom.ts";
import type { Agent } from "./wire.ts";

const WHO = "Who answers, and how far they go at most without asking";

/**
 * Follows who speaks. `ceiling` is the lowest of all who spoke since a person chose, as the hub reckons it (ADR-0026): a
 * handover never raises it, and a person's choice, which goes with the next message, ends it.
 */
export class Speakers {
  readonly node = h("span", { class: "speaker" });
  private agents: readonly Agent[] = [];
  private speaker: string | null;
  private ceiling: string | null = null;
  private picked: string | null = null;
  private isBusy = false;

  constructor(first: string | null) {
    this.speaker = first;
    this.show();
  }

  /** Whom the person chose for the next message. */
  get chosen(): string | null {
    return this.picked;
  }

  /** The agents there are to choose from. */
  learn(agents: readonly Agent[]): void {
    this.agents = agents;
    this.speaker ??= agents.find((each) => each.default)?.name ?? null;
    this.show();
  }

  /** How the hub keeps the conversation. */
  found(agent: string, ceiling: string): void {
    this.speaker = agent;
    this.ceiling = ceiling;
    this.show();
  }

  /** This one speaks from here on: a run began, or was handed over. */
  speaks(agent: string): void {
    const own = this.own(this.speaker);
    if (own && agent !== this.speaker) this.ceiling = lowest(this.ceiling, own);
    this.speaker = agent;
    this.show();
  }

  /** The message with the person's choice has arrived. */
  arrived(agent: string): void {
    if (agent !== this.picked) return;
    this.picked = null;
    this.ceiling = null;
    this.speaker = agent;
    this.show();
  }

  /** Nobody is chosen while somebody answers. */
  busy(isBusy: boolean): void {
    this.isBusy = isBusy;
    this.show();
  }

  private own(name: string | null): string | null {
    return this.agents.find((each) => each.name === name)?.autonomy_ceiling ?? null;
  }

  private show(): void {
    if (this.agents.length) this.offer();
    else fill(this.node, this.speaker && h("span", { class: "model", title: "Who answers" }, called(this.speaker)));
  }

  private offer(): void {
    const own = this.own(this.speaker);
    const held = lowest(this.ceiling, own);
    const isHeld = own === null || (held !== null && held < own);
    const title = this.agents.find((each) => each.name === this.speaker)?.title ?? called(this.speaker ?? "");
    const hadFocus = this.node.contains((this.node.getRootNode() as Document | ShadowRoot).activeElement);
    const select = h("select", {
      "aria-label": WHO, class: isHeld ? "held" : null, disabled: this.isBusy,
      title: isHeld ? `${WHO}. Handed over, it stays at ${held ?? "the lowest"} until you choose an agent.` : WHO,
      on: { change: () => this.pick(select.value, isHeld) },
    }, isHeld && h("option", { value: "" }, `${title} · held at ${held ?? "–"}`),
    this.agents.map((each) => h("option", { value: each.name, title: each.description }, `${each.title} · up to ${each.autonomy_ceiling}`)));
    select.value = this.picked ?? (isHeld ? "" : (this.speaker ?? ""));
    fill(this.node, select);
    if (hadFocus) select.focus();
  }

  private pick(value: string, isHeld: boolean): void {
    this.picked = value && (isHeld || value !== this.speaker) ? value : null;
  }
}

/** Levels stand in order by their names, L0 to L3. */
function lowest(one: string | null, other: string | null): string | null {
  if (one === null || other === null) return one ?? other;
  return one < other ? one : other;
}

function called(name: string): string {
  return name.charAt(0).toUpperCase() + name.slice(1).replaceAll("_", " ");
}
