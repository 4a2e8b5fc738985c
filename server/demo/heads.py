"""Where the demo keeps the heads of its ledger: a file of its own, as long as the operator's file names no place.

It lies beside the database, so it proves nothing against whoever owns this machine; it shows how heads are kept.
"""

from server.home import GlowHome
from server.system_config import HeadPlace, HeadsConfig

FILE = "heads.ndjson"
EVERY_S = 60


def kept_heads(home: GlowHome) -> HeadsConfig:
    """Each organization's newest head, appended once a minute."""
    return HeadsConfig(every_s=EVERY_S, to=[HeadPlace(name="demo", file=str(home.path / FILE))])


def heads_of(home: GlowHome) -> HeadsConfig | None:
    """Those of a home whose demo has kept some; None: it has not."""
    return kept_heads(home) if (home.path / FILE).exists() else None
