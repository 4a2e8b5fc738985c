"""What a person at the terminal is told of an error: the words of those that are expected, and of no other."""

from typing import cast

from agent.personas import PersonaInvalid
from server.cli.failure import CommandFailed
from server.database.errors import DatabaseError
from server.demo.loader import DemoFailed
from server.home import HomeUnusable
from server.processes.supervisor import NotServing
from server.serve import NotStarted
from server.settings import SettingsInvalid
from server.system_config import SystemConfigInvalid
from tools.manifest_files import ManifestFilesError
from tools.policy import PolicyFilesError
from tools.policy_cases import CasesInvalid
from tools.ports import Unavailable
from tools.registry import RegistryError
from tools.workflows import WorkflowFilesError

EXPECTED = (
    CasesInvalid,
    CommandFailed,
    DatabaseError,
    DemoFailed,
    HomeUnusable,
    ManifestFilesError,
    NotServing,
    NotStarted,
    PersonaInvalid,
    PolicyFilesError,
    RegistryError,
    SettingsInvalid,
    SystemConfigInvalid,
    Unavailable,
    WorkflowFilesError,
)


def words_for(fault: BaseException) -> str | None:
    """The words for an error that is expected, also where a group of tasks wraps it; None for a fault of our own."""
    if isinstance(fault, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", fault)
        words = [words_for(part) for part in group.exceptions]
        return None if None in words else "\n".join(dict.fromkeys(filter(None, words)))
    return str(fault) if isinstance(fault, EXPECTED) else None
