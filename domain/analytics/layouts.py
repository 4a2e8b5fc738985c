"""What each report says: its measures, which of them stand in front or are charted, and what it is grouped by."""

from collections.abc import Mapping
from dataclasses import dataclass

from domain.analytics.model import GroupBy, ReportName


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One column of figures."""

    name: str
    label: str
    words: str
    """As it is said in a sentence, after its value."""
    unit: str | None = None
    additive: bool = True
    """The rows add up to the whole; not so medians, nor counts of different things."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """One report."""

    title: str
    counts: str
    """What is charted, with its unit."""
    groups: tuple[GroupBy, ...]
    """The first is the default."""
    measures: tuple[Measure, ...]
    """The first one orders the groups."""
    headline: tuple[str, ...]
    charted: tuple[str, ...]
    """Where they are stacked, parts of one whole."""
    stacked: bool = True

    def measure(self, name: str) -> Measure:
        """The measure of that name."""
        return next(measure for measure in self.measures if measure.name == name)


TIMES: tuple[GroupBy, ...] = ("day", "week", "month")
"""Groups that stand in their own order, not by size."""

MONEY = ("cost", "call_cost")
"""Measures in US dollars, to the millionth, and stated only where nothing of them is unknown."""

GROUP_LABELS: Mapping[GroupBy, str] = {
    "tool": "Tool",
    "door": "Door",
    "outcome": "Outcome",
    "day": "Day (UTC)",
    "week": "Week (ISO 8601, UTC)",
    "month": "Month (UTC)",
    "principal": "Person or service account",
    "mode": "Mode",
    "role": "Role",
    "engagement": "Engagement",
    "status": "Status",
    "kind": "Workflow",
    "assignee": "Assignee",
    "state": "State",
    "decided_by": "Decided by",
    "needs_role": "Least role to decide",
    "media_type": "Media type",
    "model": "Model",
    "agent": "Agent",
}


def _counted(name: str, label: str, words: str | None = None, unit: str | None = None) -> Measure:
    return Measure(name=name, label=label, words=words or name.replace("_", " "), unit=unit)


def _stated(name: str, label: str, unit: str | None = None) -> Measure:
    return Measure(name=name, label=label, words=label.lower(), unit=unit, additive=False)


LAYOUTS: Mapping[ReportName, Layout] = {
    "activity": Layout(
        title="Activity",
        counts="Tool calls",
        groups=("day", "week", "month", "door", "mode", "role", "principal", "tool", "engagement"),
        measures=(
            _counted("calls", "Calls", "tool calls"),
            _counted("by_person", "By a person's own hand"),
            _counted("by_agent", "By the agent, attended", "by the agent for a person"),
            _counted("unattended", "By the agent, unattended"),
            _counted("changes", "Changes made", "changes made"),
            _counted("refused", "Refused", "refused by policy or a person"),
            _stated("principals", "People and service accounts"),
            _stated("conversations", "Conversations"),
        ),
        headline=("calls", "by_person", "by_agent", "unattended", "changes", "refused", "principals", "conversations"),
        charted=("by_person", "by_agent", "unattended"),
    ),
    "tasks": Layout(
        title="Tasks created",
        counts="Tasks",
        groups=("status", "kind", "assignee", "principal", "engagement", *TIMES),
        measures=(
            _counted("tasks", "Tasks", "tasks created"),
            _counted("open", "Open"),
            _counted("in_progress", "In progress"),
            _counted("done", "Done"),
            _counted("cancelled", "Cancelled"),
            _counted("overdue", "Overdue now", "overdue now"),
            _counted("runs", "Runs", "runs of their workflows"),
            _counted("runs_completed", "Runs completed"),
            _counted("runs_failed", "Runs failed"),
        ),
        headline=("tasks", "open", "in_progress", "done", "cancelled", "overdue", "runs", "runs_failed"),
        charted=("done", "in_progress", "open", "cancelled"),
    ),
    "tool_use": Layout(
        title="Use of tools",
        counts="Tool calls",
        groups=("tool", "door", "outcome", "principal", *TIMES),
        measures=(
            _counted("calls", "Calls", "tool calls"),
            _counted("allowed", "Allowed"),
            _counted("denied", "Denied by policy", "denied by policy"),
            _counted("needed_approval", "Needed approval"),
            _counted("no_verdict", "Without a verdict", "without a verdict"),
            _counted("done", "Done"),
            _counted("previewed", "Only previewed", "only previewed"),
            _counted("waiting", "Waiting now", "waiting"),
            _counted("not_done", "Ended otherwise", "ended otherwise"),
            _stated("p50_ms", "Median latency", "ms"),
            _stated("p95_ms", "95th percentile latency", "ms"),
        ),
        headline=("calls", "done", "denied", "needed_approval", "waiting", "not_done", "p50_ms", "p95_ms"),
        charted=("allowed", "needed_approval", "denied", "no_verdict"),
    ),
    "approvals": Layout(
        title="Approvals asked for",
        counts="Approvals",
        groups=("state", "tool", "principal", "decided_by", "needs_role", "engagement", *TIMES),
        measures=(
            _counted("asked", "Asked for", "approvals asked for"),
            _counted("pending", "Waiting now", "waiting"),
            _counted("approved", "Approved"),
            _counted("rejected", "Rejected"),
            _counted("expired", "Expired"),
            _counted("cancelled", "Cancelled"),
            _counted("failed", "Failed when executed", "failed when executed"),
            _counted("four_eyes", "With four eyes", "that needed four eyes"),
            _stated("p50_hours", "Median time to a decision", "h"),
            _stated("p95_hours", "95th percentile time to a decision", "h"),
        ),
        headline=("asked", "pending", "approved", "rejected", "expired", "failed", "p50_hours", "p95_hours"),
        charted=("approved", "rejected", "expired", "cancelled", "failed", "pending"),
    ),
    "knowledge": Layout(
        title="Documents taken in, searches and reads",
        counts="Documents, searches and reads",
        groups=("month", "week", "day", "engagement", "principal", "media_type"),
        measures=(
            _counted("events", "Documents, searches and reads", "documents, searches and reads"),
            _counted("documents", "Documents taken in", "documents taken in"),
            _counted("ready", "Ready to be searched", "ready to be searched"),
            _counted("unfinished", "Still being indexed", "still being indexed"),
            _counted("failed", "Failed"),
            _counted("size_bytes", "Size of the files", "of files", "bytes"),
            _counted("tokens", "Tokens of their text", "of text", "tokens"),
            _counted("searches", "Searches"),
            _counted("reads", "Documents read", "reads"),
            _counted("failed_citations", "Citations that failed their check", "citations that failed their check"),
        ),
        headline=(
            *("documents", "ready", "unfinished", "failed", "size_bytes", "tokens", "searches", "reads"),
            "failed_citations",
        ),
        charted=("documents", "searches", "reads"),
        stacked=False,
    ),
    "cost": Layout(
        title="Use of language models",
        counts="Tokens",
        groups=("model", "agent", "principal", "door", "engagement", *TIMES),
        measures=(
            _counted("tokens", "Tokens", "tokens"),
            _counted("input_tokens", "Tokens read", "read"),
            _counted("cached_tokens", "Tokens read from a cache", "read from a cache"),
            _counted("output_tokens", "Tokens written", "written"),
            _counted("runs", "Runs"),
            _counted("model_calls", "Calls of a model", "calls of a model"),
            _counted("tool_calls", "Tool calls asked for", "tool calls asked for"),
            _counted("unpriced_tokens", "Tokens without a price", "without a price"),
            _counted("unknown_runs", "Runs whose use is unknown", "whose use is unknown"),
            Measure(name="cost", label="Cost", words="cost", unit="US dollars", additive=True),
            _counted("unknown_calls", "Tool calls whose cost is unknown", "tool calls whose cost is unknown"),
            Measure(
                name="call_cost",
                label="Cost of tool calls",
                words="cost of tool calls",
                unit="US dollars",
                additive=True,
            ),
        ),
        headline=(
            "tokens",
            "input_tokens",
            "output_tokens",
            "runs",
            "model_calls",
            "unpriced_tokens",
            "cost",
            "call_cost",
        ),
        charted=("input_tokens", "output_tokens"),
    ),
    "feedback": Layout(
        title="Feedback on answers",
        counts="Answers",
        groups=("agent", "model", "principal", "engagement", *TIMES),
        measures=(
            _counted("rated", "Answers rated", "answers rated"),
            _counted("up", "Good", "good"),
            _counted("down", "Not good", "not good"),
            _counted("comments", "With a comment", "with a comment"),
        ),
        headline=("rated", "up", "down", "comments"),
        charted=("up", "down"),
    ),
}
