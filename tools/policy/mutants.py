"""The same policies with one rule spoiled: what a set of tests must be able to tell from the real ones."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import cast

from tools.policy.files import PolicyFiles

Json = dict[str, object]

NO_CONDITIONS: Json = {"conditions": []}


def without(files: PolicyFiles, rule_id: str) -> PolicyFiles:
    """The policies as if the rule had never been written."""
    return _rewritten(files, (policy for policy in _parsed(files) if _id(policy) != rule_id))


def unconditional(files: PolicyFiles, rule_id: str) -> PolicyFiles:
    """The policies as if the rule held of all that its head names, whatever its `when` and `unless` say."""
    return _rewritten(
        files, (policy | NO_CONDITIONS if _id(policy) == rule_id else policy for policy in _parsed(files))
    )


def _parsed(files: PolicyFiles) -> list[Json]:
    import cedarpy

    parsed = cast(Json, json.loads(cedarpy.policies_to_json_str(files.policies)))
    return list(cast("dict[str, Json]", parsed["staticPolicies"]).values())


def _rewritten(files: PolicyFiles, policies: Iterator[Json]) -> PolicyFiles:
    import cedarpy

    numbered = {f"policy{number}": policy for number, policy in enumerate(policies)}
    text = cedarpy.policies_from_json_str(
        json.dumps({"templates": {}, "staticPolicies": numbered, "templateLinks": []})
    )
    return replace(files, policies=text)


def _id(policy: Json) -> object:
    return cast(Json, policy.get("annotations", {})).get("id")
