// The custom element: who is signed in, for whom the conversation is shown, and what the page around is told.

import { claimsOf, Thread } from "./thread.ts";
import type { Archive } from "./context.ts";
import { Conversation } from "./conversation.ts";
import styles from "./chat.css";
import { button, fill, h } from "./dom.ts";
import { Hub } from "./hub.ts";
import parts from "./parts.css";
import tokens from "./tokens.css";
import { titles } from "./words.ts";

/** Where this program was loaded from; a module has no script of its own. */
const SCRIPT = document.currentScript instanceof HTMLScriptElement ? document.currentScript.src : location.href;
const RENEWED_BEFORE_S = 60;
const LONGEST_TIMER_MS = 2 ** 31 - 1;

type Reason = "missing" | "expiring" | "expired";

/** `<glow-chat>`: a conversation with the hub in a shadow root of its own. */
export class GlowChat extends HTMLElement {
  static readonly observedAttributes = ["token", "base-url", "agent", "engagement", "conversation"];

  // Declared and not initialised: what a page set before the element was defined must stay.
  /** Gives a fresh token; called before one ends, and when one was refused. */
  declare refresh?: (() => Promise<string | null>) | null;
  /** What the hub's own page may read beside; a widget has none. */
  declare archive?: Archive | null;
  /** The organization of a token that names none. */
  declare organization?: string | null;
  /** The model's name, where the page knows it before any run. */
  declare model?: string | null;

  private readonly root = this.attachShadow({ mode: "open" });
  private readonly hub = new Hub({
    base: () => this.home.href,
    credential: () => ({ token: this.held, organization: this.organization ?? null }),
    renew: () => this.renew(),
    signedOut: () => this.signIn("expired"),
  });
  private held: string | null = null;
  private shown: Conversation | null = null;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private renewing: Promise<string | null> | null = null;

  constructor() {
    super();
    this.root.adoptedStyleSheets = [sheet()];
  }

  /** The bearer token; setting another person's begins their own conversation. */
  get token(): string | null {
    return this.held;
  }

  set token(token: string | null) {
    if (token === this.held && this.shown) return;
    const isSame = claimsOf(token).holder === claimsOf(this.held).holder;
    this.held = token || null;
    this.watch();
    if (!this.isConnected || (isSame && this.shown && this.held)) return;
    this.render();
  }

  /** What people call the tools, where the page knows it. */
  set titles(known: ReadonlyMap<string, string>) {
    for (const [tool, title] of known) titles.set(tool, title);
  }

  /** Where the hub is. */
  get home(): URL {
    return new URL(".", new URL(this.getAttribute("base-url") ?? SCRIPT, location.href));
  }

  get conversation(): string | null {
    return this.shown?.conversation ?? this.getAttribute("conversation");
  }

  /** Gives the conversation a title that was found later. */
  titled(title: string): void {
    this.shown?.titled(title);
  }

  override focus(): void {
    this.shown?.focus();
  }

  connectedCallback(): void {
    this.takeUp();
    this.render();
  }

  disconnectedCallback(): void {
    clearTimeout(this.timer);
    this.shown?.leave();
    this.shown = null;
  }

  attributeChangedCallback(name: string, before: string | null, now: string | null): void {
    if (name === "token") {
      // It is taken, and does not stay where every script and style of the page reads it.
      if (now === null) return;
      this.removeAttribute("token");
      this.token = now;
    } else if (before !== now && this.isConnected) this.render();
  }

  /** A token that the page set before the element was defined hides the element's own. */
  private takeUp(): void {
    const own = Object.getOwnPropertyDescriptor(this, "token");
    if (!own) return;
    Reflect.deleteProperty(this, "token");
    this.token = own.value as string | null;
  }

  private render(): void {
    this.shown?.leave();
    this.shown = null;
    if (!this.held) return this.signIn("missing");
    this.watch();
    const conversation = this.getAttribute("conversation");
    this.shown = new Conversation({
      hub: this.hub,
      home: this.home,
      archive: this.archive ?? null,
      thread: this.archive ? null : new Thread(storage(), this.key(), conversation),
      conversation,
      agent: this.getAttribute("agent"),
      engagement: this.getAttribute("engagement"),
      heading: this.getAttribute("heading") ?? (this.archive ? "New conversation" : "Assistant"),
      model: this.model ?? null,
      tell: (what, detail) => this.told(what, detail),
    });
    fill(this.root, this.shown.node);
    void this.shown.open();
  }

  /** One thread a hub, person, agent and engagement. */
  private key(): string {
    const { holder } = claimsOf(this.held);
    return ["glow-chat", this.home.href, holder, this.getAttribute("agent") ?? "", this.getAttribute("engagement") ?? ""].join("|");
  }

  private told(what: "conversation" | "approval", detail: Record<string, unknown>): void {
    this.tell(`glow-${what}`, detail);
    if (what === "conversation" && detail.conversation === null) this.render();
  }

  private tell(name: string, detail: Record<string, unknown>): void {
    this.dispatchEvent(new CustomEvent(name, { detail, bubbles: true, composed: true }));
  }

  // Signing in --------------------------------------------------------------------------------------------------------

  private signIn(reason: Reason): void {
    this.shown?.leave();
    this.shown = null;
    const ask = (): void => this.tell("glow-sign-in", { reason });
    fill(this.root, h("div", { class: "chat" }, h("section", { class: "sign-in", "aria-labelledby": "sign-in-title" },
      h("h2", { id: "sign-in-title" }, reason === "missing" ? "Sign in to start" : "Your sign-in has ended"),
      h("p", { class: "faint" }, reason === "missing"
        ? "The assistant answers from your firm’s documents and acts in your name, so it has to know who you are."
        : "Sign in again, and the conversation goes on where it stopped."),
      h("div", { class: "buttons" }, button("Sign in", ask, { kind: "primary" })))));
    // The page may not have put its listeners yet.
    setTimeout(ask);
  }

  private watch(): void {
    clearTimeout(this.timer);
    const { expires } = claimsOf(this.held);
    if (expires === null || this.archive) return;
    const left = (expires - RENEWED_BEFORE_S) * 1000 - Date.now();
    this.timer = setTimeout(() => void this.expiring(), Math.min(Math.max(left, 1000), LONGEST_TIMER_MS));
  }

  private async expiring(): Promise<void> {
    if (!this.refresh) return this.tell("glow-sign-in", { reason: "expiring" satisfies Reason });
    await this.renew();
  }

  /** One asking for a fresh token at a time, whoever needs it. */
  private renew(): Promise<string | null> {
    this.renewing ??= this.fresh().finally(() => {
      this.renewing = null;
    });
    return this.renewing;
  }

  private async fresh(): Promise<string | null> {
    const token = (await this.refresh?.().catch(() => null)) ?? null;
    if (token) this.token = token;
    return token;
  }
}

let made: CSSStyleSheet | null = null;

/** One sheet for every element; constructed, so that a page's policy on styles has nothing to refuse. */
function sheet(): CSSStyleSheet {
  if (!made) {
    made = new CSSStyleSheet();
    made.replaceSync([tokens, parts, styles].join("\n"));
  }
  return made;
}

function storage(): Storage | null {
  try {
    return sessionStorage;
  } catch {
    return null;
  }
}
