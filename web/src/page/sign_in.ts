// Who is signed in: the form that asks for a token, and the question before a link's token replaces another.

import { button, fill, h } from "../dom.ts";
import { isAway, wordsOf, type Credential, type Hub } from "../hub.ts";
import { roleName } from "../words.ts";
import { credential } from "./credential.ts";

export interface Me {
  principal: string;
  principal_id: string;
  display_name: string;
  role: string;
  autonomy: string;
  organization: string;
  organization_id: string;
}

/**
 * Whether the page may go on as whoever is kept now. A link is taken where no token is kept, or one of the same person:
 * else whoever sends a link could have its reader work, unknowing, under another name. Then the reader is asked.
 */
export async function settled(hub: Hub, linked: Credential, main: HTMLElement): Promise<boolean> {
  if (!credential.token) credential.keep(linked);
  if (credential.holds(linked)) return true;
  const kept = await holder(hub, credential.kept);
  const other = await holder(hub, linked);
  if (!kept && !other) return true; // what is kept is refused once more, and said so
  if (!(kept && other && isSame(kept, other))) return ask(main, kept, other, linked);
  credential.keep(linked);
  return true;
}

/** The person for whom a credential stands; null where it opens nothing. */
async function holder(hub: Hub, as: Credential): Promise<Me | null> {
  try {
    return await hub.get<Me>("v1/me", { as });
  } catch (fault) {
    if (isAway(fault)) throw fault;
    return null;
  }
}

function isSame(one: Me, other: Me): boolean {
  return one.principal_id === other.principal_id && one.organization_id === other.organization_id;
}

/** Either answer starts the page afresh, so that nothing of one person is left beside the other's name. */
function ask(main: HTMLElement, kept: Me | null, other: Me | null, linked: Credential): boolean {
  document.body.classList.remove("signed-in");
  const afresh = (change: () => void) => () => {
    change();
    location.reload();
  };
  const stay = kept
    ? button(other ? `Stay as ${nameOf(kept)}` : "Go on", afresh(() => undefined), { kind: "primary" })
    : button("Do not sign in", afresh(() => credential.forget()), { kind: "primary" });
  fill(main, h("section", { class: "sign-in", "aria-labelledby": "who" },
    brand(),
    h("h1", { id: "who", tabIndex: -1 }, other ? "Sign in as somebody else?" : "This link signs nobody in"),
    kept ? [h("p", {}, "You are signed in as"), person(kept)] : h("p", {}, "Your sign-in has ended."),
    other
      ? [h("p", {}, "The link that was opened would sign you in as"), person(other),
        h("p", { class: "faint" }, "What you then do is done, and recorded, under that name. If you did not ask for this link, stay who you are.")]
      : h("p", {}, "The link that was opened holds a token that is not valid here. It was not used."),
    h("div", { class: "buttons" }, stay, other && button(`Switch to ${nameOf(other)}`, afresh(() => {
      credential.forget();
      credential.keep(linked);
    })))));
  stay.focus();
  return false;
}

function nameOf(one: Me): string {
  return one.display_name || one.principal;
}

function person(one: Me): HTMLElement {
  return h("div", { class: "person" },
    h("strong", {}, nameOf(one)), h("span", {}, one.principal),
    h("span", { class: "faint" }, `${roleName(one.role)} at ${one.organization}`));
}

export function brand(): HTMLElement {
  return h("div", { class: "brand" }, h("span", { class: "mark", "aria-hidden": "true" }), "Prisma Glow");
}

/** Asks for a token; `entered` is called when one was given, `fault` says why the last one did not do. */
export function signIn(main: HTMLElement, entered: () => void, fault?: unknown): void {
  document.body.classList.remove("signed-in");
  const token = h("input", { id: "token", type: "password", autocomplete: "off", spellcheck: "false", required: true });
  const organization = h("input", { id: "organization", type: "text", autocomplete: "off", spellcheck: "false" });
  const enter = (event: Event): void => {
    event.preventDefault();
    credential.keep({ token: token.value.trim(), organization: organization.value.trim() });
    entered();
  };
  fill(main, h("form", { class: "sign-in", on: { submit: enter } },
    brand(),
    h("h1", { tabIndex: -1 }, "Sign in"),
    credential.token && fault ? h("p", { class: "error", role: "alert" }, wordsOf(fault)) : null,
    h("label", { for: "token" }, "Access token"), token,
    h("p", { class: "faint" }, "From your administrator, or by ", h("code", {}, "glow token --organization … --user … --for api"), ". It stays in this tab only."),
    h("details", {}, h("summary", {}, "You belong to several organizations?"), h("label", { for: "organization" }, "Organization"), organization),
    h("button", { type: "submit", class: "button primary" }, "Sign in")));
  token.focus();
}
