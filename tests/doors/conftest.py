"""What tests of the doors share."""

from collections.abc import AsyncIterator

import pytest

from tests.support.database import Database
from tests.support.doors import Doors, in_a_task, opened_doors


@pytest.fixture
async def doors(database: Database) -> AsyncIterator[Doors]:
    """The application on a fresh database with the demo firm's people."""
    async with in_a_task(opened_doors(database)) as opened:
        yield opened
