"""The schemas of answers and bodies (JSON Schema 2020-12), by name.

Answers only gain fields, so no schema forbids others. What is not known is left out of rows.
"""

from typing import Any, Final

import msgspec

from scheduler.whatif.questions import Question

Schema = dict[str, Any]

TEXT: Final[Schema] = {"type": "string"}
NAME: Final[Schema] = {
    "type": "string",
    "maxLength": 253,
    "pattern": "^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$",
}
NUMBER: Final[Schema] = {"type": "number"}
COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
FLAG: Final[Schema] = {"type": "boolean"}
INSTANT: Final[Schema] = {"type": "string", "format": "date-time"}
ANYTHING: Final[Schema] = {}
ORIGIN: Final[Schema] = {
    "enum": ["measured", "estimated", "modelled", "yearly", "assumed", "unknown"]
}
PHASE: Final[Schema] = {
    "enum": [
        *("Pending", "Waiting", "Refused", "Placed"),
        *("Running", "Completed", "Degraded", "Deleting"),
    ]
}


def ref(name: str) -> Schema:
    """A reference to a schema of this document."""
    return {"$ref": f"#/components/schemas/{name}"}


def listed(items: Schema) -> Schema:
    """A list."""
    return {"type": "array", "items": items}


def mapped(values: Schema) -> Schema:
    """An object with any keys."""
    return {"type": "object", "additionalProperties": values}


def record(required: dict[str, Schema], optional: dict[str, Schema] | None = None) -> Schema:
    """An object with fields of its own."""
    fields = {**required, **(optional or {})}
    found: Schema = {"type": "object", "properties": fields}
    return found | ({"required": list(required)} if required else {})


def or_null(schema: Schema) -> Schema:
    """A value, or null for one that is not known."""
    return {"anyOf": [schema, {"type": "null"}]}


[_QUESTION], _OF_QUESTIONS = msgspec.json.schema_components(
    [Question], ref_template="#/components/schemas/{name}"
)
# Where nothing else is taken, what is lost needs no type.
_LOSS: Final = _OF_QUESTIONS["LoseSites"] | {"title": "Loss", "required": ["kind", "value"]}
_OF_QUESTIONS["SurvivalQuestion"]["properties"]["losses"]["items"] = ref("Loss")


SCHEMAS: Final[dict[str, Schema]] = {
    "Site": record(
        {
            "name": TEXT,
            "reporting": FLAG,
            "health": {"enum": ["Reporting", "Late", "Silent", "Lost", "Unknown"]},
            "tier": {"enum": ["edge", "regional", "central"]},
            "cordon": FLAG,
            "free": mapped(NUMBER),
            "used": mapped(NUMBER),
            "inFlightReplicas": COUNT,
            "workloads": COUNT,
        },
        {
            "healthSince": INSTANT,
            "observedAt": INSTANT,
            "province": TEXT,
            "city": TEXT,
            "freeCpu": TEXT,
            "reportAgeSeconds": or_null(NUMBER),
            "drain": mapped(ANYTHING),
            "maintenance": listed(mapped(ANYTHING)),
            "watts": NUMBER,
            "wattsOrigin": ORIGIN,
            "gco2PerKwh": NUMBER,
            "gco2PerKwhOrigin": ORIGIN,
            "gco2PerHour": NUMBER,
        },
    ),
    "SiteList": record({"sites": listed(ref("Site"))}),
    "Share": record(
        {"name": TEXT, "replicas": COUNT}, {"ready": COUNT, "phase": TEXT, "message": TEXT}
    ),
    "Workload": record(
        {
            "namespace": TEXT,
            "name": TEXT,
            "phase": PHASE,
            "sites": listed(ref("Share")),
            "reasons": mapped(COUNT),
        },
        {
            "dataClass": TEXT,
            "replicas": COUNT,
            "ready": COUNT,
            "readiness": TEXT,
            "reason": TEXT,
            "line": TEXT,
            "decision": TEXT,
            "decidedAt": INSTANT,
            "createdAt": INSTANT,
            "failover": mapped(ANYTHING),
        },
    ),
    "WorkloadPage": record(
        {"workloads": listed(ref("Workload")), "total": COUNT},
        {"next": {**TEXT, "description": "`after` of the next page; absent on the last one."}},
    ),
    "Evictions": record(
        {},
        {
            "frozen": FLAG,
            "reason": TEXT,
            "since": or_null(TEXT),
            "why": TEXT,
            "by": TEXT,
            "held": listed(mapped(ANYTHING)),
            "excusedSites": COUNT,
            "healthyRatio": NUMBER,
            "evictionsPerSecond": NUMBER,
        },
    ),
    "Decision": record({"id": TEXT}, {"seq": COUNT, "hash": TEXT, "subject": TEXT}),
    "RecordPage": record(
        {
            "records": listed(
                record(
                    {
                        "seq": {"type": "integer"},
                        "id": TEXT,
                        "hash": TEXT,
                        "subject": TEXT,
                        "body": {**TEXT, "description": "The JSON that the hash covers, as text."},
                    }
                )
            )
        }
    ),
    "Blob": {"description": "What a record refers to, such as the state of the fleet."},
    "Question": record(
        {},
        {
            "sites": listed(NAME),
            "pod": or_null(NAME),
            "container": or_null(NAME),
            "tailLines": or_null({"type": "integer", "minimum": 1, "maximum": 10_000}),
            "positions": {**listed(ref("Position")), "maxItems": 256},
        },
    )
    | {"additionalProperties": False},
    "Position": record(
        {"site": TEXT, "pod": NAME, "container": NAME, "after": {**TEXT, "maxLength": 40}}
    ),
    "StatusAnswer": record(
        {
            "workload": TEXT,
            "phase": or_null(PHASE),
            "sites": listed(
                record(
                    {
                        "name": TEXT,
                        "pods": or_null(COUNT),
                        "ready": or_null(COUNT),
                        "reasons": mapped(COUNT),
                        "events": listed(mapped(ANYTHING)),
                        "podDetails": listed(mapped(ANYTHING)),
                    },
                    {"problem": TEXT},
                )
            ),
        },
        {"leftOut": COUNT},
    ),
    "LogsAnswer": record(
        {
            "workload": TEXT,
            "phase": or_null(PHASE),
            "sites": listed(
                record({"name": TEXT, "logs": listed(mapped(ANYTHING))}, {"problem": TEXT})
            ),
        },
        {"leftOut": COUNT},
    ),
    "Links": record({"site": TEXT, "links": listed(mapped(ANYTHING))}),
    "Answer": {"type": "object"},
    "AskedOfCopy": {
        "description": "What `kapok whatif`, `capacity` and `survive` send; files as their objects."
    }
    | _QUESTION,
    **_OF_QUESTIONS,
    "Loss": _LOSS,
    "Code": record({"code": TEXT, "expiresInSeconds": NUMBER}),
    "Document": record({"openapi": TEXT, "paths": mapped(ANYTHING)}),
}
