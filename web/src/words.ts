// What people call things: tools by their titles, roles and reasons in plain words, each beside the name in the record.

import { h } from "./dom.ts";

/** What the manifests call the tools of a conversation; a widget may not ask, and a test holds these to the manifests. */
const TITLES: Record<string, string> = {
  agent_handover: "Hand the conversation over",
  analytics_report: "Report on the firm's work",
  approval_decide: "Decide an approval",
  autonomy_query: "Ask what the agent may do by itself",
  call_get: "Look at a call",
  document_upload: "Upload a document",
  knowledge_read: "Read a document",
  knowledge_search: "Search the firm's documents",
  release_check: "Check a release control",
  release_submit: "Record a release",
  task_create: "Create a task",
  task_get: "Look at a task",
  task_list: "List tasks",
  task_run: "Run a task",
  task_run_cancel: "Cancel a task's run",
  task_run_get: "Follow a task's run",
  task_update: "Change a task",
};

/** The titles of tools by name; the hub's own page learns all of them. */
export const titles = new Map<string, string>(Object.entries(TITLES));

/** What a person calls a tool: its title, or its name in words. */
export function titleOf(tool: string): string {
  const words = tool.replaceAll("_", " ");
  return titles.get(tool) ?? words.charAt(0).toUpperCase() + words.slice(1);
}

/** A tool's title and its name in the record. */
export function toolName(tool: string): HTMLElement[] {
  return [h("span", { class: "tool" }, titleOf(tool)), h("span", { class: "name mono" }, tool)];
}

const ROLES: Record<string, string> = { EQR: "EQR", READONLY: "Read-only", SYSTEM_ADMIN: "System administrator" };

/** A role as a person writes it. */
export function roleName(role: string | null | undefined): string {
  return role ? (ROLES[role] ?? role.charAt(0) + role.slice(1).toLowerCase().replaceAll("_", " ")) : "";
}

const REASONS: Record<string, string> = {
  already_done: "It was done in another version of this conversation, and stands.",
  agent_may_not: "Only a person may do this, by their own hand.",
  approval_role_too_low: "Your role may not decide this.",
  assigning_others_needs_manager: "Giving a task to somebody else takes a manager.",
  autonomy_below_workflow_minimum: "At this level of autonomy the agent asks before it starts this workflow.",
  autonomy_l0_unattended: "At this level of autonomy the agent does nothing unattended.",
  autonomy_needs_approval_commit: "At this level of autonomy a person approves what others will rely on.",
  autonomy_needs_approval_prepare: "At this level of autonomy the agent asks before every change.",
  budget_exhausted: "A budget of the firm’s does not suffice for it.",
  client_changes_own_tasks_only: "Clients change only tasks of their own.",
  client_outside_own_engagement: "Clients see and touch only what is theirs.",
  conclusion_needs_four_eyes: "Somebody other than the one who asked must say how it ended.",
  conclusion_role_too_low: "Your role may not say how this call ended.",
  control_not_satisfied: "Its release control is not satisfied.",
  delegate_decides_nothing: "Whoever decides nothing cannot decide in another’s stead.",
  delegation_of_others: "A delegation is revoked by whoever gave it or was given it, or by a partner.",
  deputy_asked: "Nobody decides in another’s stead what they asked for themselves.",
  deputy_of_the_asker: "Nobody decides in the stead of the one who asked.",
  deputy_too_low: "What a partner decides takes a manager in the partner’s stead.",
  door_not_offered: "It is not offered by this way in.",
  eqr_only_reads_and_signs: "An EQR reads and signs off, nothing else.",
  four_eyes_needed: "Somebody other than the one who asked must decide.",
  irreversible_needs_approval: "A person approves what cannot be undone.",
  linking_others_needs_approval: "A second person agrees to whom a sign-in stands for.",
  subject_changed: "What it names has changed since this was asked for.",
  manifest_changed: "The tool has changed since this was asked for.",
  member_may_call: "Any member may do this.",
  no_permit: "No rule allows it.",
  not_a_member: "No membership in this organization.",
  not_own_approval: "A widget decides only what its own person asked for.",
  policy_error: "The rules could not be evaluated, and what cannot be decided is refused.",
  preference_not_own_words: "What may not be the person’s own words is confirmed by the person first.",
  preference_takes_own_hand: "Only a person may have this remembered or forgotten, by their own hand.",
  releasing_needs_partner: "Releasing this takes a partner.",
  role_too_low: "The role does not suffice.",
  service_account_with_other_role: "A service account may not hold this role.",
  signoff_needs_eqr: "This sign-off is for the engagement quality reviewer alone.",
  signoff_needs_manager: "This sign-off takes a manager.",
  signoff_needs_partner: "This sign-off takes a partner.",
  task_run_cancelled: "The run that this is a step of was cancelled.",
  untrusted_content_read: "The agent has read what a client or an outsider wrote, so a person approves what others will rely on.",
  upload_cannot_wait: "An upload cannot wait for approval, since its file is not kept meanwhile.",
  upload_to_wider_audience: "It would show a client what a person would have to approve, and an upload cannot wait for approval.",
  wider_audience: "It would show a client what it may not see, or what somebody else’s words may have dictated.",
  within_role_and_autonomy: "Within the role and the level of autonomy.",
  wrong_audience: "The credential was made for something else.",
  wrong_origin: "The credential was made for another site's page.",
};

/** The reasons of a decision: what each means, and the name of the rule. */
export function reasonList(reasons: readonly string[] | undefined): HTMLElement {
  if (!reasons?.length) return h("p", { class: "faint" }, "No reason was recorded.");
  return h("ul", { class: "reasons" }, reasons.map((reason) => h("li", {},
    Object.hasOwn(REASONS, reason) && [REASONS[reason], " "], h("code", {}, reason))));
}

/** Why a call was denied, in words alone; a rule that has none is named. */
export function denialOf(reasons: readonly string[]): string {
  return reasons.map((reason) => (Object.hasOwn(REASONS, reason) ? REASONS[reason] : `Denied by ${reason}.`)).join(" ");
}

/** Where in its document a passage stands; the document's own title is not said twice. */
export function placeOf({ title, page, section }: { title: string; page?: number | null; section?: string | null }): string {
  const within = (section ?? "").split(" > ").filter((part) => part && part !== title).join(" › ");
  return [page && `p. ${page}`, within].filter(Boolean).join(", ");
}

const FAULTS: Record<string, string> = {
  other_words: "Not confirmed: these words do not stand there",
  no_document: "Not confirmed: the document is not there any more",
  no_range: "Not confirmed: the document does not reach that far",
  unchecked: "Not confirmed: it could not be checked",
};

/** What a reader is told of a citation that is not good; empty where it is. */
export function faultOf({ fault }: { fault?: string | null }): string {
  return fault ? FAULTS[fault] ?? "Not confirmed" : "";
}
