"""Preferences: what a person has the agent remember of how to answer them; step 7 of the path of a call."""

from uuid import UUID

from domain.preferences.model import Statement
from tools.handlers.arguments import Arguments
from tools.outcomes import Json
from tools.views.calls import preference_json
from tools.work import CallContext, Handler


class PreferenceSet(Arguments):
    words: str
    preference_id: UUID | None = None


class PreferenceForget(Arguments):
    preference_id: UUID


async def preference_set(arguments: PreferenceSet, context: CallContext) -> Json:
    """Effect  writes preferences; takes replaced words out of the record's payloads."""
    preferences = context.work.preferences
    statement = Statement(
        words=arguments.words.strip(),
        call_id=context.call_id,
        conversation_id=context.conversation_id,
        now=context.now,
    )
    if arguments.preference_id is None:
        return {"preference": preference_json(await preferences.remember(statement, context.new_id))}
    return {"preference": preference_json(await preferences.reword(arguments.preference_id, statement))}


async def preference_forget(arguments: PreferenceForget, context: CallContext) -> Json:
    """Effect  writes preferences; takes the words out of the record's payloads."""
    await context.work.preferences.forget(arguments.preference_id)
    return {"preference_id": str(arguments.preference_id)}


PREFERENCE_SET = Handler(arguments=PreferenceSet, work=preference_set)
PREFERENCE_FORGET = Handler(arguments=PreferenceForget, work=preference_forget)
