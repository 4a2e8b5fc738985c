"""Tests that stand beside the policies, written as people at the firm speak: read, decided, and enough."""

from tools.policy_cases.coverage import Untested, untested
from tools.policy_cases.model import Case, CasesInvalid, Expected, Failure, failures
from tools.policy_cases.reading import read_cases

__all__ = ["Case", "CasesInvalid", "Expected", "Failure", "Untested", "failures", "read_cases", "untested"]
