"""The base of all arguments: what the manifest's schema has let through, as types."""

from pydantic import BaseModel, ConfigDict


class Arguments(BaseModel):
    """Arguments of one tool; its fields are the properties of the manifest's schema, neither more nor fewer."""

    model_config = ConfigDict(extra="forbid", frozen=True)
