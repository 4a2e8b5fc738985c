"""The offline model: what the hub answers with when no language model is configured or reachable.

It understands a small set of plain sentences, calls the same tools through the same gate, and says in every answer
that it is the offline model.
"""

from agent.offline.model import OfflineModel

__all__ = ["OfflineModel"]
