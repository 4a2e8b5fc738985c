// What the hub sends, as types: the events of a run, and the few things that are asked for by themselves.

export type Json = Record<string, unknown>;

export interface Citation {
  marker: number;
  document_id: string;
  /** The passage in which it begins, where the document has passages. */
  chunk_id?: string;
  title: string;
  uri: string;
  start: number;
  end: number;
  quote: string;
  page?: number;
  section?: string;
  /** Why the document does not bear it out; without one it was held to the document, and stands there. */
  fault?: "other_words" | "no_document" | "no_range" | "unchecked";
}

export interface Failure {
  code?: string;
  message?: string;
}

export interface Asked {
  approval_id: string;
  call_id: string;
  tool: string;
  arguments: Json;
  needs_role: string;
  four_eyes: boolean;
  expires_at: string;
}

type Happened =
  | { type: "run.started"; conversation_id: string; agent: string; model: string }
  | { type: "message.started"; message_id: string }
  | { type: "message.delta"; message_id: string; delta: string }
  | { type: "message.reset"; message_id: string; reason: string }
  | { type: "message.completed"; message_id: string; text: string; citations?: Citation[] }
  | { type: "tool.called"; call_id: string; tool: string; arguments: Json }
  | { type: "tool.decided"; call_id: string; decision: string; reasons: string[] }
  | { type: "tool.progress"; call_id: string; progress: number; message: string }
  | { type: "tool.completed"; call_id: string; outcome: string; result?: unknown; error?: Failure }
  | ({ type: "approval.requested" } & Asked)
  | { type: "approval.decided"; approval_id: string; decision: string; by: string }
  | { type: "run.usage" }
  | { type: "run.waiting" }
  | { type: "run.completed" }
  | { type: "run.cancelled" }
  | { type: "run.failed"; code: string; message: string; retryable: boolean };

/** An event of a run; `sequence` is its place in it, and 0 for what is told of the past. */
export type RunEvent = Happened & { run_id: string; sequence: number };

export interface Approval {
  id: string;
  state: string;
  tool: string;
  arguments: Json;
  reasons: string[];
  requested_by: string;
  /** Who made the schedule that led to it, and who changed that last. */
  set_up_by?: string[];
  needs_role: string;
  four_eyes: boolean;
  conversation_id?: string | null;
  /** The agent's run that asks, or the task's run whose step it is. */
  run_id?: string;
  task_run_id?: string;
  created_at: string;
  expires_at: string;
  decided_by?: string | null;
  /** In whose stead, where the decider stood in for somebody. */
  decided_for?: string;
  decided_at?: string | null;
  comment?: string | null;
  /** When those who may decide were reminded. */
  reminded_at?: string;
  /** Of one that is fetched by itself: its arguments beside those of the last like call. */
  comparison?: Comparison;
  /** And what it names. */
  subjects?: Subjects;
}

/** What a call names, as the reader sees it now. */
export interface Subjects {
  /** False: asked before it was kept how what it names stood. */
  is_bound: boolean;
  items: Subject[];
  left_out?: number;
}

export interface Subject {
  subject: string;
  argument: string;
  /** `changed`: approved, the call would be refused. */
  state: "unchanged" | "changed";
  /** None where the reader sees no such thing. */
  words?: { name: string; value: string }[];
  is_whole?: boolean;
}

/** A call's arguments laid out, each beside what it was in the last like call. */
export interface Comparison {
  rows: ComparedRow[];
  last?: { call_id: string; made_at: string; made_by: string; same_requester: boolean };
  rows_left_out?: number;
}

export interface ComparedRow {
  argument: string;
  change?: "same" | "changed" | "added" | "removed";
  value?: unknown;
  last_value?: unknown;
}

/** The call of a decided approval. */
export interface DecidedCall {
  call_id: string;
  outcome: string;
  result?: unknown;
  error?: Failure;
}

export interface PastCall {
  call_id: string;
  tool: string;
  outcome: string;
  arguments: unknown;
  result: unknown;
}

/** What a person says of an answer. */
export interface Feedback {
  rating: "up" | "down";
  comment: string;
}

/** A message of the past, as the hub's own page may list them. */
export interface Said {
  message_id: string;
  run_id: string;
  role: string;
  text: string;
  tool_calls: PastCall[];
  citations: Citation[];
  version: number;
  versions: string[];
  feedback: Feedback | null;
}

/** What stands for a conversation's oldest turns when its model is asked. */
export interface Summary {
  /** The run of the last turn that it covers. */
  last_run_id: string;
  text: string;
  model: string;
}

/** One of those a conversation may be with. */
export interface Agent {
  name: string;
  title: string;
  description: string;
  autonomy_ceiling: string;
  default: boolean;
}

/** A conversation as the hub keeps it. */
export interface KeptConversation {
  title: string;
  agent: string;
  agent_ceiling: string;
}

export interface RecordedCall {
  call_id: string;
  tool: string;
  outcome: string | null;
  decision: string | null;
  reasons: string[];
  arguments?: unknown;
  result?: unknown;
  error_code?: string;
  approval_id?: string;
}

/** For an event of a newer hub; one of the union is no `never`, so that a match that forgot it does not compile. */
export function passOver(_event: never): void {}

/** After such an event nothing follows. */
export function isTerminal(event: RunEvent): boolean {
  return event.type === "run.completed" || event.type === "run.cancelled" || event.type === "run.failed";
}
