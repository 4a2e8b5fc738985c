"""The MCP door before anybody has come to it: nothing is loaded, and whoever comes first is answered."""

import asyncio
import subprocess
import sys

from server.database.connection import Connection
from tests.support.database import Database
from tests.support.firms import seed_firms
from tests.support.mcp_wire import modern, modern_headers, post
from tests.support.served import served


def test_the_application_is_there_without_the_sdks_that_few_requests_need() -> None:
    asked = "import sys, server.app; print(sorted({'mcp', 'openai', 'aiohttp', 'pypdf'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", asked], check=True, capture_output=True, text=True).stdout == "[]\n"


async def test_whoever_comes_first_is_answered_and_whoever_comes_meanwhile(
    database: Database, owner_connection: Connection
) -> None:
    await seed_firms(owner_connection)
    async with served(database) as server:
        headers = modern_headers(server.token("partner", "mcp"), "tools/list")

        answers = await asyncio.gather(*(post(server, modern("tools/list"), headers) for _ in range(5)))

        assert [answer.status_code for answer in answers] == [200] * 5
        assert all(answer.json()["result"]["tools"] for answer in answers)
