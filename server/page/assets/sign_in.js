// Who is signed in: the form that asks for a token, a link that brings one, and the question before it replaces another.

import { credential, get } from "./api.js";
import { button, fill, h } from "./dom.js";
import { roleName } from "./words.js";

/** The credential of the address's fragment, taken out of the address bar at once; null where it holds none. */
export function linkedCredential() {
  const found = new URLSearchParams(location.hash.slice(1));
  const token = found.get("token");
  if (!token) return null;
  const linked = { token, organization: found.get("organization") };
  found.delete("token");
  found.delete("organization");
  const rest = found.toString().replace(/=(?=&|$)/g, "");
  history.replaceState(null, "", rest ? `#${rest}` : location.pathname);
  return linked;
}

/**
 * Whether the page may go on as whoever is kept now. A link is taken where no token is kept, or one of the same person:
 * else whoever sends a link could have its reader work, unknowing, under another name. Then the reader is asked.
 */
export async function settled(linked, main) {
  if (!credential.token) credential.keep(linked);
  if (credential.holds(linked)) return true;
  const kept = await holder(credential.kept);
  const other = await holder(linked);
  if (!kept && !other) return true; // what is kept is refused once more, and said so
  if (!(kept && other && isSame(kept, other))) return ask(main, kept, other, linked);
  credential.keep(linked);
  return true;
}

/** The person for whom a credential stands; null where it opens nothing. */
async function holder(as) {
  try {
    return await get("v1/me", { as });
  } catch (fault) {
    if (isAway(fault)) throw fault;
    return null;
  }
}

/** Whether the server could not answer, rather than would not. */
export function isAway(fault) {
  return fault.status === 0 || fault.status === 429 || fault.status >= 500;
}

function isSame(one, other) {
  return one.principal_id === other.principal_id && one.organization_id === other.organization_id;
}

/** Either answer starts the page afresh, so that nothing of one person is left beside the other's name. */
function ask(main, kept, other, linked) {
  document.body.classList.remove("signed-in");
  const afresh = (change) => () => {
    change();
    location.reload();
  };
  const stay = kept
    ? button(other ? `Stay as ${nameOf(kept)}` : "Go on", afresh(() => {}), { kind: "primary" })
    : button("Do not sign in", afresh(() => credential.forget()), { kind: "primary" });
  fill(main, h("section", { class: "sign-in", "aria-labelledby": "who" },
    brand(),
    h("h1", { id: "who", tabIndex: -1 }, other ? "Sign in as somebody else?" : "This link signs nobody in"),
    kept ? [h("p", {}, "You are signed in as"), person(kept)] : h("p", {}, "Your sign-in has ended."),
    other
      ? [h("p", {}, "The link that was opened would sign you in as"), person(other),
        h("p", { class: "faint" }, "What you then do is done, and recorded, under that name. If you did not ask for this link, stay who you are.")]
      : h("p", {}, "The link that was opened holds a token that is not valid here. It was not used."),
    h("div", { class: "buttons" }, stay, other && button(`Switch to ${nameOf(other)}`, afresh(() => credential.keep(linked))))));
  stay.focus();
  return false;
}

function nameOf(one) {
  return one.display_name || one.principal;
}

function person(one) {
  return h("div", { class: "person" },
    h("strong", {}, nameOf(one)), h("span", {}, one.principal),
    h("span", { class: "faint" }, `${roleName(one.role)} at ${one.organization}`));
}

function brand() {
  return h("div", { class: "brand" }, h("span", { class: "mark", "aria-hidden": "true" }), "Prisma Glow");
}

/** Asks for a token; `entered` is called when one was given, `fault` says why the last one did not do. */
export function signIn(main, entered, fault) {
  document.body.classList.remove("signed-in");
  const token = h("input", { id: "token", type: "password", autocomplete: "off", spellcheck: "false", required: true });
  const organization = h("input", { id: "organization", type: "text", autocomplete: "off", spellcheck: "false" });
  const enter = (event) => {
    event.preventDefault();
    credential.keep({ token: token.value.trim(), organization: organization.value.trim() });
    entered();
  };
  fill(main, h("form", { class: "sign-in", on: { submit: enter } },
    brand(),
    h("h1", { tabIndex: -1 }, "Sign in"),
    credential.token && fault && h("p", { class: "error", role: "alert" }, fault.message),
    h("label", { for: "token" }, "Access token"), token,
    h("p", { class: "faint" }, "From your administrator, or by ", h("code", {}, "glow token --organization … --user … --for api"), ". It stays in this tab only."),
    h("details", {}, h("summary", {}, "You belong to several organizations?"), h("label", { for: "organization" }, "Organization"), organization),
    h("button", { type: "submit", class: "button primary" }, "Sign in")));
  token.focus();
}
