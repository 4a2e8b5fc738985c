"""What a task's kind stands for: the workflows of manifests/workflows, checked at start, and their steps' arguments."""

from tools.workflows.files import WorkflowFilesError, load_workflows
from tools.workflows.model import MOST_RETRIES, RUN_TIMEOUT, Repeat, Retries, Step, Workflow, Workflows
from tools.workflows.references import MissingValue, look_up, resolve_arguments, step_arguments

__all__ = [
    "MOST_RETRIES",
    "RUN_TIMEOUT",
    "MissingValue",
    "Repeat",
    "Retries",
    "Step",
    "Workflow",
    "WorkflowFilesError",
    "Workflows",
    "load_workflows",
    "look_up",
    "resolve_arguments",
    "step_arguments",
]
