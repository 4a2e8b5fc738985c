"""Everything policy sees of one call, in one flat value: verdicts are decided from it, recorded with it, kept by it."""

from dataclasses import dataclass, fields
from functools import cache
from typing import Literal, cast

import orjson
from pydantic import TypeAdapter

from domain.kernel import Door, Effect, Level, Mode, Principal, PrincipalKind, Role, Trust
from tools.facts import Facts
from tools.manifest import Manifest, Subject

Json = dict[str, object]
AutonomyKind = Literal["effect", "workflow"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """One call as policy sees it; equal situations get equal verdicts.

    It holds no id of a person or a thing: only what the rules speak of.
    """

    role: Role | None
    kind: PrincipalKind
    mode: Mode
    attended: bool
    door: Door
    level: Level
    """The level in force, the persona's ceiling included."""

    tool: str
    effect: Effect
    least_role: Role
    extra_roles: tuple[Role, ...]
    """Sorted, as are `doors`, so that equal manifests make equal situations."""
    doors: tuple[Door, ...]
    person_only: bool
    autonomy: AutonomyKind
    minimum_level: Level | None
    """The workflow's minimum autonomy, where `autonomy` is `workflow` and the workflow is known."""
    rule_role: Role
    """Who may decide a waiting call, as the manifest has it; the effect may ask for more."""
    rule_four_eyes: bool
    control: str | None
    control_state: str
    sign_off_kind: str | None
    """The kind of sign-off that the call records."""

    assigns_other: bool
    client_own_engagement: bool | None
    """Of a CLIENT: what the arguments name is of an engagement of its own. None: another role, or nothing named."""
    client_own_task: bool | None
    """Of a CLIENT: the task that the arguments name is given to it, or its own. None: another role, or none named."""
    run_cancelled: bool
    """The call is a step of a task run that was cancelled."""
    own_statement: bool | None
    """The words to be remembered stand in the message that the run answers, and nothing was told to the run before.

    None: the call is of no run, or says no such words.
    """
    approval_needs_role: Role | None
    """Of the waiting call that the arguments name, as the next two are, or of one that a person is to say the end of.

    None: they name none.
    """
    approval_own: bool
    approval_four_eyes: bool
    approval_deputy_role: Role | None
    """The role of one in whose stead the principal may answer it. None: it stands in for no one who may."""
    approval_deputy_own: bool
    """Whoever it stands in for asked for the waiting call."""
    delegate_role: Role | None
    """Of who is to decide in another's stead; None: nobody is named."""
    delegation_concerned: bool | None
    """The principal gave the delegation that the arguments name, or was given it. None: they name none."""

    budget_exhausted: bool | None
    """Nothing is left of a budget that the call counts in. None: none is set."""

    taint: Trust | None
    """Of the least trusted thing that has entered the agent's turn. None: a person's own hand, or a call that reads."""
    widens: bool | None
    """It would show clients what was kept from them, or anything after untrusted words.

    None: as above, or it shows clients nothing.
    """

    approved: bool
    """A person's approval stands behind this very execution."""

    @property
    def by_hand(self) -> bool:
        """A person's own hand: neither a model, nor background work, nor a service account that says it is a person."""
        return self.mode == "person" and self.kind == "person" and self.role is not Role.SERVICE_ACCOUNT

    def canonical_json(self) -> str:
        """Keys sorted, no spaces; `situation_from_json` makes the same situation of it, to be decided again."""
        held = {field.name: getattr(self, field.name) for field in fields(self)}
        return orjson.dumps(held, option=orjson.OPT_SORT_KEYS).decode()


def situation_of(
    manifest: Manifest,
    principal: Principal,
    facts: Facts,
    *,
    persona_ceiling: Level,
    minimum_level: Level | None,
    approved: bool,
    control: str | None,
    sign_off_kind: str | None,
    budget_exhausted: bool | None = None,
    widens: bool | None = None,
) -> Situation:
    """What policy sees of a call of this tool by this principal, where the database said these facts.

    `control`, `sign_off_kind`: what the manifest says of them, or the call's own arguments.
    """
    question = _question(facts)
    return Situation(
        role=facts.role,
        kind=principal.kind,
        mode=principal.mode,
        attended=principal.attended,
        door=principal.door,
        level=facts.range.in_force(persona_ceiling),
        tool=manifest.name,
        effect=manifest.effect,
        least_role=manifest.least_role,
        extra_roles=tuple(sorted(manifest.extra_roles)),
        doors=tuple(sorted(manifest.doors)),
        person_only=manifest.person_only,
        autonomy=manifest.autonomy,
        minimum_level=minimum_level if manifest.autonomy == "workflow" else None,
        rule_role=manifest.approval.role,
        rule_four_eyes=manifest.approval.four_eyes,
        control=control,
        control_state=facts.control_state,
        sign_off_kind=sign_off_kind,
        assigns_other=facts.of("assignee", "self") is False,
        client_own_engagement=_own_engagement(facts) if facts.role is Role.CLIENT else None,
        client_own_task=_true_of(facts, "task", "own") if facts.role is Role.CLIENT else None,
        run_cancelled=facts.of("step_of", "cancelled") is True,
        own_statement=_own_statement(facts),
        approval_needs_role=_role(facts.of(question, "needs_role")),
        approval_own=facts.of(question, "own") is True,
        approval_four_eyes=facts.of(question, "four_eyes") is True,
        approval_deputy_role=_role(facts.of("approval", "deputy_role")),
        approval_deputy_own=facts.of("approval", "deputy_own") is True,
        delegate_role=_role(facts.of("delegate", "role")),
        delegation_concerned=_true_of(facts, "delegation", "concerned"),
        budget_exhausted=budget_exhausted,
        taint=None if facts.turn is None else facts.turn.trust,
        widens=widens,
        approved=approved,
    )


def _question(facts: Facts) -> Subject:
    """What a person is to decide, or to say the end of: who may is told of both alike."""
    return "open_call" if facts.subjects.get("open_call") is not None else "approval"


def _own_engagement(facts: Facts) -> bool | None:
    """Whether all that a CLIENT's arguments name is its own; row security shows it no document or task that is not."""
    belongs = [facts.of("engagement", "member") is True] if facts.subjects.get("engagement") is not None else []
    seen = ("document", "deleted_document", "task", "task_run")
    belongs += [True for subject in seen if facts.subjects.get(subject) is not None]
    return all(belongs) if belongs else None


def _true_of(facts: Facts, subject: Subject, key: str) -> bool | None:
    """None: the arguments name no such subject."""
    said = facts.of(subject, key)
    return None if said is None else said is True


def _role(said: object) -> Role | None:
    return None if said is None else Role(cast(str, said))


def _own_statement(facts: Facts) -> bool | None:
    if facts.subjects.get("statement") is None:
        return None
    return facts.of("statement", "own") is True and facts.of("statement", "told") is False


def situation_from_json(text: str | bytes) -> Situation:
    """The situation that `canonical_json` wrote.

    Raises  ValueError: not such a text: a key too many or too few, a word or a type that no situation holds.
    """
    situation = _reader().validate_json(text, strict=True)
    if cast(Json, orjson.loads(text)).keys() != {field.name for field in fields(Situation)}:
        raise ValueError("not a situation: it has keys that no situation has")
    return situation


@cache
def _reader() -> TypeAdapter[Situation]:
    return TypeAdapter(Situation)
