"""Why a message is not taken, a run or a conversation not found, or a step not stored."""

from typing import ClassVar

from domain.kernel import ConversationId, DomainError, EngagementId, NotFound, RunId
from tools.ports import Unavailable


class ConversationNotFound(NotFound):
    """No such conversation that this principal may see."""

    def __init__(self, conversation_id: ConversationId) -> None:
        super().__init__("no such conversation")
        self.conversation_id = conversation_id


class RunNotFound(NotFound):
    """No such run that this principal may see."""

    def __init__(self, run_id: RunId) -> None:
        super().__init__("no such run")
        self.run_id = run_id


class EngagementNotFound(NotFound):
    """No such engagement that this principal may see."""

    def __init__(self, engagement_id: EngagementId) -> None:
        super().__init__("no such engagement")
        self.engagement_id = engagement_id


class RunTaken(Unavailable):
    """Another process carries the run by now: nothing that this one writes of it is stored."""

    def __init__(self, run_id: RunId) -> None:
        super().__init__("another process carries this run by now")
        self.run_id = run_id


class NotAMember(NotFound):
    """The principal has no membership in the organization it came for."""

    def __init__(self) -> None:
        super().__init__("no such organization")


class UnknownAgent(NotFound):
    """No persona of that name."""

    def __init__(self, agent: str, known: tuple[str, ...] = ()) -> None:
        super().__init__(f"no such agent; there are: {', '.join(known)}")
        self.agent = agent
        self.known = known


class ConversationBusy(DomainError):
    """A run of this conversation is still going, or waits for a person's approval."""

    code: ClassVar[str] = "conversation_busy"

    def __init__(self, conversation_id: ConversationId) -> None:
        super().__init__(
            "a run of this conversation is still going, or waits for approval: wait for its end or cancel it"
        )
        self.conversation_id = conversation_id


class ConversationTaken(DomainError):
    """The conversation that this message would begin exists: the message came twice."""

    code: ClassVar[str] = "conversation_busy"

    def __init__(self, conversation_id: ConversationId) -> None:
        super().__init__("this message has begun a conversation already")
        self.conversation_id = conversation_id


class ClientMessageReused(DomainError):
    """The `client_message_id` was used before in this conversation, for another message."""

    code: ClassVar[str] = "client_message_reused"

    def __init__(self) -> None:
        super().__init__("client_message_id: used before in this conversation, for another message")


class InvalidMessage(DomainError):
    """The message cannot be taken as it is."""

    code: ClassVar[str] = "invalid_message"
