// The token of this tab, and the organization it is used in where it needs one; never kept beyond the tab.

import type { Credential } from "../hub.ts";

const TOKEN = "glow.token";
const ORGANIZATION = "glow.organization";

export const credential = {
  get token(): string | null {
    return sessionStorage.getItem(TOKEN);
  },
  get kept(): Credential {
    return { token: this.token, organization: sessionStorage.getItem(ORGANIZATION) };
  },
  holds({ token, organization }: Credential): boolean {
    return token === this.token && (organization ?? null) === this.kept.organization;
  },
  keep({ token, organization }: Credential): void {
    sessionStorage.setItem(TOKEN, token ?? "");
    if (organization) sessionStorage.setItem(ORGANIZATION, organization);
    else sessionStorage.removeItem(ORGANIZATION);
  },
  forget(): void {
    // What this tab remembers beside the token is the same person's.
    sessionStorage.clear();
  },
};

/** The credential of the address's fragment, taken out of the address bar at once; null where it holds none. */
export function linkedCredential(): Credential | null {
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
