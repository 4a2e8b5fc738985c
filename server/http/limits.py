"""What one principal may have under way at once at this door, so that what is left serves the others."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

from agent.places import Places
from domain.kernel import Principal
from server.problems import Problem, too_many
from server.system_config import PrincipalLimits, SystemConfigFile, UploadLimits

CHARTS_AT_ONCE = 2
"""Of one principal: so few that those of several principals find a place among all that may wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The places of this process, by what they are for."""

    streams: Places = field(default_factory=lambda: Places(PrincipalLimits().streams))
    """Answers that follow a run, as events or waiting for its end."""
    uploads: Places = field(default_factory=lambda: Places(PrincipalLimits().uploads))
    """Requests whose files are being taken in."""
    charts: Places = field(default_factory=lambda: Places(CHARTS_AT_ONCE))
    """Reports that are computed and drawn."""
    sizes: Callable[[], UploadLimits] = UploadLimits
    """What an upload may weigh now."""

    @classmethod
    def of(cls, config: SystemConfigFile) -> "Limits":
        """The limits that the configuration in force says, each time anew."""
        return cls(
            streams=Places(lambda: config.current.limits.streams),
            uploads=Places(lambda: config.current.limits.uploads),
            sizes=lambda: config.current.uploads,
        )

    @contextmanager
    def streaming(self, principal: Principal) -> Generator[None]:
        """A place for following a run.

        Raises  Problem: 429 `too_many_streams`.
        """
        refused = too_many("streams", f"You follow {self.streams.most} runs already; close one of them.")
        with _place(self.streams, principal, refused):
            yield

    @contextmanager
    def uploading(self, principal: Principal) -> Generator[None]:
        """A place for an upload.

        Raises  Problem: 429 `too_many_uploads`.
        """
        refused = too_many("uploads", f"{self.uploads.most} uploads of yours are under way; wait for one of them.")
        with _place(self.uploads, principal, refused):
            yield

    @contextmanager
    def charting(self, principal: Principal) -> Generator[None]:
        """A place for a chart.

        Raises  Problem: 429 `too_many_charts`.
        """
        refused = too_many("charts", f"{self.charts.most} charts of yours are being drawn; wait for one of them.")
        with _place(self.charts, principal, refused):
            yield


@contextmanager
def _place(places: Places, principal: Principal, refused: Problem) -> Generator[None]:
    if not places.take(principal):
        raise refused
    try:
        yield
    finally:
        places.leave(principal)
