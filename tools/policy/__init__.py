"""The verdict on a call, step 5 of its path: pure, facts in, and out a verdict with reasons, by the firm's policies."""

from tools.policy.explaining import explain
from tools.policy.files import PolicyFilesError, Rule
from tools.policy.rulebook import Rulebook
from tools.policy.situation import Situation, situation_from_json, situation_of
from tools.policy.verdicts import Policies, least_decider

__all__ = [
    "Policies",
    "PolicyFilesError",
    "Rule",
    "Rulebook",
    "Situation",
    "explain",
    "least_decider",
    "situation_from_json",
    "situation_of",
]
