"""How a call that had to be asked for ended, in words: the record keeps an error's code and not its message."""

from domain.kernel import Outcome
from tools.outcomes import STATED_NOT_MADE, SUBJECT_CHANGED


def why_settled(outcome: Outcome, error_code: str, comment: str | None) -> str:
    """Why it did not end well; `comment`: what the one said who decided its question, or withdrew it."""
    match outcome:
        case "rejected":
            return comment or "A person rejected this call."
        case "expired":
            return "Nobody answered in time whether this call may be made."
        case "cancelled":
            return comment or "This call was cancelled."
        case "denied" if error_code == SUBJECT_CHANGED:
            return (
                "It was approved, and what it names had changed after it was asked for, so it was not made. "
                "Look at it as it is now, and ask anew if the call is still wanted."
            )
        case "denied" if error_code == "manifest_changed":
            return "It was approved, and its tool had changed after it was asked for, so it was not made."
        case "denied":
            return "It was approved, and policy forbids it by now."
        case "failed" if error_code == STATED_NOT_MADE:
            return "A person has looked, and says that this call was not made."
        case _:
            return f"The call ended with {error_code}."
