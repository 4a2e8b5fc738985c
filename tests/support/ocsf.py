"""What OCSF 1.8.0 asks of an API Activity and of a base event, as JSON Schema: what is required, what words it fixes.

Source  https://schema.ocsf.io/1.8.0/classes/api_activity, and the objects that it names
"""

from tools.json_schema import Checker, Json

TEXT: Json = {"type": "string", "minLength": 1}
NUMBER: Json = {"type": "integer", "minimum": 0}

SEVERITIES = {0: "Unknown", 1: "Informational", 2: "Low", 3: "Medium", 4: "High", 5: "Critical", 6: "Fatal"}
ACTIVITIES = {0: "Unknown", 1: "Create", 2: "Read", 3: "Update", 4: "Delete"}
STATUSES = {0: "Unknown", 1: "Success", 2: "Failure"}
USER_TYPES = {0: "Unknown", 1: "User", 2: "Admin", 3: "System", 4: "Service"}


def holding(required: tuple[str, ...] = (), one_of: tuple[str, ...] = (), **properties: Json) -> Json:
    """An object that has all of these, at least one of those, and nothing besides what is named."""
    schema: Json = {
        "type": "object",
        "additionalProperties": False,
        "required": list(required),
        "properties": properties,
    }
    return schema if not one_of else {**schema, "anyOf": [{"required": [name]} for name in one_of]}


def captioned(identifier: str, caption: str, words: dict[int, str]) -> list[Json]:
    """The caption beside a number is the one that the schema has for it; 99 takes a word of one's own."""
    own: Json = {
        "if": {"properties": {identifier: {"const": 99}}, "required": [identifier]},
        "then": {"required": [caption], "properties": {caption: TEXT}},
    }
    fixed: list[Json] = [
        {
            "if": {"properties": {identifier: {"const": number}}, "required": [identifier]},
            "then": {"properties": {caption: {"const": word}}},
        }
        for number, word in words.items()
    ]
    return [*fixed, own]


PRODUCT = holding(name=TEXT, vendor_name=TEXT, version=TEXT, one_of=("name", "uid"), uid=TEXT)
METADATA = holding(
    ("product", "version"),
    correlation_uid=TEXT,
    event_code=TEXT,
    log_name=TEXT,
    logged_time=NUMBER,
    original_time=TEXT,
    product=PRODUCT,
    sequence=NUMBER,
    tenant_uid=TEXT,
    uid=TEXT,
    version={"const": "1.8.0"},
)
POLICY = holding(one_of=("name", "type", "uid"), name={"type": "string"}, version=TEXT)
USER = {
    **holding(
        one_of=("account", "name", "uid"),
        uid=TEXT,
        type=TEXT,
        type_id={"enum": [*USER_TYPES, 99]},
        groups={"type": "array", "items": holding(one_of=("name", "uid"), name=TEXT)},
    ),
    "allOf": captioned("type_id", "type", USER_TYPES),
}
ACTOR = holding(
    one_of=("process", "user", "invoked_by", "session", "app_name", "app_uid"),
    user=USER,
    authorizations={"type": "array", "items": holding(decision=TEXT, policy=POLICY)},
)
API = holding(
    ("operation",),
    operation=TEXT,
    request=holding(("uid",), uid=TEXT),
    response=holding(error=TEXT),
    service=holding(one_of=("name", "uid"), name=TEXT),
)
ENDPOINT = holding(one_of=("ip", "uid", "name", "hostname", "svc_name"), svc_name=TEXT)
BASE: Json = {
    "activity_id": NUMBER,
    "activity_name": TEXT,
    "category_name": TEXT,
    "category_uid": NUMBER,
    "class_name": TEXT,
    "class_uid": NUMBER,
    "message": TEXT,
    "metadata": METADATA,
    "severity": TEXT,
    "severity_id": {"enum": [*SEVERITIES, 99]},
    "status": TEXT,
    "status_code": TEXT,
    "status_detail": TEXT,
    "status_id": {"enum": [*STATUSES, 99]},
    "time": NUMBER,
    "type_name": TEXT,
    "type_uid": NUMBER,
    "unmapped": {"type": "object"},
}
REQUIRED = ("activity_id", "category_uid", "class_uid", "metadata", "severity_id", "time", "type_uid")
WORDS = [
    *captioned("activity_id", "activity_name", ACTIVITIES),
    *captioned("severity_id", "severity", SEVERITIES),
    *captioned("status_id", "status", STATUSES),
]
API_ACTIVITY: Json = {
    **holding((*REQUIRED, "actor", "api", "src_endpoint")),
    "properties": {
        **BASE,
        "activity_id": {"enum": [*ACTIVITIES, 99]},
        "category_name": {"const": "Application Activity"},
        "category_uid": {"const": 6},
        "class_name": {"const": "API Activity"},
        "class_uid": {"const": 6003},
        "actor": ACTOR,
        "api": API,
        "src_endpoint": ENDPOINT,
    },
    "allOf": [
        *WORDS,
        # The type is the class and its activity.
        *(
            {
                "if": {"properties": {"activity_id": {"const": activity}}},
                "then": {"properties": {"type_uid": {"const": 600300 + activity}}},
            }
            for activity in (*ACTIVITIES, 99)
        ),
    ],
}
BASE_EVENT: Json = {
    **holding(REQUIRED),
    "properties": {**BASE, "category_uid": {"const": 0}, "class_uid": {"const": 0}, "type_uid": {"enum": [0, 99]}},
    "allOf": WORDS,
}

_CHECKERS = {6003: Checker(API_ACTIVITY), 0: Checker(BASE_EVENT)}


def faults_of(event: Json) -> list[str]:
    """What OCSF has against it."""
    class_uid = event.get("class_uid")
    assert isinstance(class_uid, int)
    return [f"{fault.path}: {fault.message}" for fault in _CHECKERS[class_uid].check(event)]
