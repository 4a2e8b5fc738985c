"""Who carries a run: a lease on it, the signs of life that keep the lease, and a run as it is taken over."""

from dataclasses import dataclass

from domain.kernel import Door, OrganizationId, PrincipalId, PrincipalKind, RunId


@dataclass(frozen=True, slots=True, kw_only=True)
class RunKey:
    organization_id: OrganizationId
    run_id: RunId


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A carrier's hold on a run; of an epoch that is over, it is none."""

    key: RunKey
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulse:
    """The answer to a heartbeat."""

    running: frozenset[RunId]
    """Those that are still this process's to carry; the others were ended by somebody else."""
    to_cancel: frozenset[RunId]
    """Those that somebody asked another process to cancel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenRun:
    """A run that was taken over: who asked for it, at which door, and under which lease it is carried now."""

    lease: Lease
    owner_id: PrincipalId
    owner_kind: PrincipalKind
    door: Door
    scheduled: bool
    cancel_requested: bool
    lost_carriers: int
    """How many of its carriers went away without handing it over."""
