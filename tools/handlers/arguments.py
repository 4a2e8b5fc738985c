"""The base of all arguments: what the manifest's schema has let through, as types."""

from typing import Annotated, cast

from pydantic import AfterValidator, BaseModel, ConfigDict

from tools.outcomes import Json

DEPTH = 16


class Arguments(BaseModel):
    """Arguments of one tool; its fields are the properties of the manifest's schema, neither more nor fewer."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _shallow(value: Json) -> Json:
    if _depth(value) > DEPTH:
        raise ValueError(f"is nested more than {DEPTH} deep")
    return value


def _depth(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(_depth, cast(Json, value).values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(_depth, cast("list[object]", value)), default=0)
    return 0


OpenObject = Annotated[Json, AfterValidator(_shallow)]
"""An object of any members. It comes back inside results and approvals, so it leaves them room for their own depth."""
