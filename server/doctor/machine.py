"""Whether this machine has a free port, a home and room for the server."""

import errno
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from server.doctor.finding import Finding, wrong
from server.home import GlowHome

LEAST_FREE_BYTES = 1024**3
HUB_TIMEOUT_S = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where the server is to listen."""

    host: str
    port: int


async def port_finding(address: Address) -> Finding:
    """Whether the address is free, or a hub already listens there."""
    place = f"{address.host}:{address.port}"
    try:
        family, kind, protocol, _, bound = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0]
        with closing(socket.socket(family, kind, protocol)) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(bound)
    except OSError as error:
        if error.errno == errno.EADDRINUSE and (running := await _running_hub(place)):
            return running
        mend = "stop what listens there, or serve with another --host or --port"
        return wrong("port", f"{place}: {error.strerror or error}", mend)
    return Finding(part="port", state="ok", says=f"{place} is free")


async def _running_hub(place: str) -> Finding | None:
    """What a hub that runs there says of itself; None: whatever listens there is none."""
    import httpx2

    try:
        async with httpx2.AsyncClient(timeout=HUB_TIMEOUT_S) as client:
            answer = cast(
                "dict[str, dict[str, dict[str, str]]]", (await client.get(f"http://{place}/readiness")).json()
            )
        lacking = {
            name: each.get("detail", "")
            for name, each in answer["dependencies"].items()
            if each["state"] in {"unavailable", "pending"}
        }
    except (httpx2.HTTPError, ValueError, KeyError, TypeError, AttributeError):
        return None
    if lacking:
        named = ", ".join(f"{name} ({detail})" if detail else name for name, detail in sorted(lacking.items()))
        return wrong("port", f"a hub runs at {place} without its {named}", "see its log")
    return Finding(part="port", state="note", says=f"a hub runs at {place}, and is ready")


def home_findings(home: GlowHome) -> Iterator[Finding]:
    """Whether this account may write to its home, and whether there is room on its disk."""
    there = next(folder for folder in (home.path, *home.path.parents) if folder.exists())
    if not os.access(there, os.R_OK | os.W_OK | os.X_OK):
        yield wrong("home", f"{there}: this account may not write there", "set GLOW_HOME to a folder of your own")
    elif there == home.path:
        yield Finding(part="home", state="ok", says=str(home.path))
    else:
        yield Finding(part="home", state="note", says=f"{home.path} is not there yet; the first command makes it")
    yield _disk(there)


def _disk(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    says = f"{free / 1024**3:.1f} GiB free at {folder}"
    if free < LEAST_FREE_BYTES:
        return wrong("disk", says, "make room, or set GLOW_HOME to a folder on another disk")
    return Finding(part="disk", state="ok", says=says)
