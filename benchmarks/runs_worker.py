"""The worker that `benchmarks.runs` measures: the one that ships, on manifests with one more workflow."""

import sys
from pathlib import Path

from server.cli.opening import LOCAL_URL, without_doors
from server.cli.running import run_until_stopped
from server.database.provision import provided
from server.hub import HubOptions, open_hub
from server.settings import load_settings


async def _work(folder: Path) -> None:
    settings = load_settings()
    options = HubOptions(manifests=folder)
    async with provided(settings) as urls, open_hub(without_doors(settings), urls, LOCAL_URL, options) as hub:
        await hub.worker.run()


if __name__ == "__main__":
    run_until_stopped(_work(Path(sys.argv[1])), log_level="WARNING")
