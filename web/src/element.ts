// The custom element: who is signed in, for whom the conversation is shown, and what the page around is told.

import { claimsOf, Thread } from "./thread.ts";
import type { Archive } from "./context.ts";
import { Conversation } from "./conversation.ts";
import styles from "./chat.css";
import { button, fill, h } from "./dom.ts";
import { Hub } from "./hub.ts";
import parts from "./parts.css";
import { lastsLonger, Renewal } from "./renewal.ts";
import tokens from "./tokens.css";
import { titles } from "./words.ts";

/** Where this program was loaded from; a module has no script of its own. */
const SCRIPT = document.currentScript instanceof HTMLScriptElement ? document.currentScript.src : location.href;

/** Why a sign-in is asked for: no token is there, a person pressed for it, one ends soon, one was refused. */
type Reason = "missing" | "asked" | "expiring" | "expired";

type Refresh = () => Promise<string | null>;

/** `<glow-chat>`: a conversation with the hub in a shadow root of its own. */
export class GlowChat extends HTMLElement {
  static readonly observedAttributes = ["token", "base-url", "agent", "engagement", "conversation"];

  // Declared and not initialised: what a page set before the element was defined must stay.
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
  private fresh: Refresh | null = null;
  private isReady = false;
  private shown: Conversation | null = null;
  private readonly renewal = new Renewal(() => void this.expiring());
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
    const before = this.held;
    const isSame = claimsOf(token).holder === claimsOf(before).holder;
    this.held = token || null;
    this.watch(isSame ? before : null);
    if (this.isReady && !(isSame && this.shown && this.held)) this.render();
  }

  /** Gives a token, or null: asked where none is there, a minute before one ends, and when one was refused. */
  get refresh(): Refresh | null {
    return this.fresh;
  }

  set refresh(refresh: Refresh | null) {
    this.fresh = refresh;
    if (this.isReady && !this.held) void this.enter("missing");
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
    this.isReady = true;
    this.takeUp();
    if (!this.shown) this.render();
  }

  disconnectedCallback(): void {
    this.isReady = false;
    this.renewal.stop();
    this.shown?.leave();
    this.shown = null;
  }

  attributeChangedCallback(name: string, before: string | null, now: string | null): void {
    if (name === "token") {
      // It is taken, and does not stay where every script and style of the page reads it.
      if (now === null) return;
      this.removeAttribute("token");
      this.token = now;
    } else if (before !== now && this.isReady) this.render();
  }

  /** What the page set before the element was defined hides the element's own. */
  private takeUp(): void {
    for (const name of ["titles", "token", "refresh"]) {
      const own = Object.getOwnPropertyDescriptor(this, name);
      if (!own) continue;
      Reflect.deleteProperty(this, name);
      Reflect.set(this, name, own.value);
    }
  }

  private render(): void {
    this.shown?.leave();
    this.shown = null;
    if (!this.held) {
      this.signIn("missing");
      return;
    }
    this.watch(null);
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
    if (what !== "conversation" || detail.conversation !== null) return;
    // A new one is wanted, and not that which the page named; to take the attribute away is to render.
    if (this.hasAttribute("conversation")) this.removeAttribute("conversation");
    else this.render();
  }

  private tell(name: string, detail: Record<string, unknown>): void {
    this.dispatchEvent(new CustomEvent(name, { detail, bubbles: true, composed: true }));
  }

  /** Asks for a sign-in: the page, where it gives tokens, and else the person; the page is told once it can hear. */
  private signIn(reason: "missing" | "expired"): void {
    this.shown?.leave();
    this.shown = null;
    const isNew = reason === "missing";
    fill(this.root, h("div", { class: "chat" }, h("section", { class: "sign-in", "aria-labelledby": "sign-in-title" },
      h("h2", { id: "sign-in-title" }, isNew ? "Sign in to start" : "Your sign-in has ended"),
      h("p", { class: "faint" }, isNew
        ? "The assistant answers from your firm’s documents and acts in your name, so it has to know who you are."
        : "Sign in again, and the conversation goes on where it stopped."),
      h("div", { class: "buttons" }, button("Sign in", () => this.enter("asked"), { kind: "primary" })))));
    setTimeout(() => {
      if (this.isReady && !this.shown) void (isNew ? this.enter(reason) : this.tell("glow-sign-in", { reason }));
    });
  }

  /** Goes in with a token that the page gives; where it gives none, it is told. */
  private async enter(reason: Reason): Promise<void> {
    const token = await this.renew();
    if (token === null && this.isReady && !this.shown) this.tell("glow-sign-in", { reason });
  }

  /** The page of the hub itself has no tokens to give. */
  private watch(before: string | null): void {
    if (!this.archive) this.renewal.watch(this.held, before);
  }

  private async expiring(): Promise<void> {
    const before = this.held;
    const token = await this.renew();
    if (token === null || !lastsLonger(token, before)) this.tell("glow-sign-in", { reason: "expiring" satisfies Reason });
  }

  /** One asking for a fresh token at a time, whoever needs it. */
  private renew(): Promise<string | null> {
    this.renewing ??= this.asked().finally(() => {
      this.renewing = null;
    });
    return this.renewing;
  }

  private async asked(): Promise<string | null> {
    const token = (await this.fresh?.().catch(() => null)) || null;
    if (token !== null) this.token = token;
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
