# SPDX-License-Identifier: Apache-2.0
"""JSON schemas of what goes in and what comes out; the OpenAPI document holds them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vmha_remediator.remedy.capacity import Fit
from vmha_remediator.remedy.incident import VmStatus
from vmha_remediator.remedy.states import IncidentState
from vmha_remediator.rules.metrics import ROLES

Schema = dict[str, Any]

STRING: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
INTEGER: Schema = {"type": "integer"}
BOOLEAN: Schema = {"type": "boolean"}
#: Seconds since the epoch: sorted, without zones, and what every program can show its own way.
TIME: Schema = {"type": "number", "description": "seconds since 1970-01-01 UTC"}


def maybe(schema: Schema) -> Schema:
    """Return the schema that also takes null: not known, or not yet."""
    return {"anyOf": [schema, {"type": "null"}]}


def ref(name: str) -> Schema:
    """Return a reference to one of `ANSWERS`."""
    return {"$ref": f"#/components/schemas/{name}"}


def listing(of: Schema) -> Schema:
    """Return the schema of a list."""
    return {"type": "array", "items": of}


def record(properties: Mapping[str, Schema]) -> Schema:
    """Return the schema of an object that has all these and nothing else."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


def taken(properties: Mapping[str, Schema], required: tuple[str, ...] = ()) -> Schema:
    """Return the schema of input: nothing unknown is taken, a typo is said."""
    schema = record(properties)
    return schema | {"required": list(required)}


NOTE: Schema = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"\S"}
REASON = taken({"reason": NOTE}, ("reason",))
HOURS: Schema = {"type": "number", "exclusiveMinimum": 0, "maximum": 8760}
MAINTENANCE = taken({"reason": NOTE, "hours": HOURS}, ("reason",))
#: What a person must repeat before a word of theirs replaces a fencing device.
CONFIRM = taken({"host": {"type": "string", "minLength": 1, "maxLength": 255}}, ("host",))

INCIDENT_QUERY = taken(
    {
        "host": {"type": "string", "minLength": 1, "maxLength": 255},
        "rule": {"type": "string", "minLength": 1, "maxLength": 64},
        "state": {"type": "string", "enum": [str(state) for state in IncidentState]},
        "active": BOOLEAN,
        "limit": {"type": "integer", "minimum": 1, "maximum": 500, "default": 50},
        "marker": {"type": "integer", "minimum": 1, "maximum": 2**31 - 1},
    }
)
HOST_QUERY = taken({"host": {"type": "string", "minLength": 1, "maxLength": 255}})

ANSWERS: dict[str, Schema] = {
    "Error": record({"error": record({"code": STRING, "reason": STRING, "way_out": STRING})}),
    "Versions": record({"versions": listing(record({"id": STRING, "status": STRING,
                                                    "href": STRING}))}),
    "Cluster": record({
        "leader": maybe(record({"owner": STRING, "since": TIME, "said": STRING,
                                "said_at": maybe(TIME)})),
        "situation": maybe(record({"rule": STRING, "severity": STRING, "evidence": STRING,
                                   "incident": INTEGER})),
        "masters": listing(STRING),
        "witnesses": listing(STRING),
        "hosts": record({"total": INTEGER, "well": INTEGER, "unwell": INTEGER,
                         "unknown": INTEGER}),
        "incidents": record({"active": INTEGER, "held": INTEGER}),
        "trouble": listing(STRING),
        "time": TIME,
    }),
    "Path": record({"state": {"type": "string", "enum": ["ok", "lost", "unknown"]},
                    "says": STRING}),
    "Host": record({
        "host": STRING,
        "state": {"type": "string", "enum": ["well", "unwell", "unknown"]},
        "role": maybe({"type": "string", "enum": list(ROLES)}),
        "verdict": maybe(STRING),
        "severity": maybe(STRING),
        "says": STRING,
        "paths": {"type": "object", "additionalProperties": ref("Path")},
        "readings": {"type": "object", "additionalProperties": NUMBER},
        "service": maybe(record({"up": BOOLEAN, "enabled": BOOLEAN, "forced_down": BOOLEAN,
                                 "disabled_reason": maybe(STRING), "zone": maybe(STRING)})),
        "maintenance": maybe(record({"reason": STRING, "who": STRING, "since": TIME,
                                     "until": maybe(TIME)})),
        "protected": maybe(INTEGER),
        "incident": maybe(INTEGER),
    }),
    "Hosts": record({"hosts": listing(ref("Host")), "trouble": listing(STRING)}),
    "HostAnswer": record({"host": ref("Host"), "trouble": listing(STRING)}),
    "Vm": record({
        "id": STRING, "name": STRING,
        "status": {"type": "string", "enum": [str(s) for s in VmStatus]},
        "was": STRING, "priority": INTEGER, "from": STRING, "to": maybe(STRING),
        "attempts": INTEGER, "started": maybe(TIME), "finished": maybe(TIME), "reason": STRING,
    }),
    "Step": record({"time": TIME, "finished": maybe(TIME), "step": STRING, "sentence": STRING,
                    "ok": maybe(BOOLEAN)}),
    "Summary": record({
        "id": INTEGER, "host": STRING, "rule": STRING, "action": STRING, "severity": STRING,
        "state": {"type": "string", "enum": [str(state) for state in IncidentState]},
        "active": BOOLEAN, "opened": TIME, "updated": TIME, "closed": maybe(TIME),
        "evidence": STRING, "reason": STRING, "advice": STRING, "held_by": STRING,
        "says": STRING,
        "vms": record({"total": INTEGER, "done": INTEGER, "pending": INTEGER}),
    }),
    "Incidents": record({"incidents": listing(ref("Summary")), "next": maybe(INTEGER)}),
    "Alarms": record({"alarms": listing(record({
        "id": STRING, "name": STRING, "rule": STRING, "host": STRING, "state": STRING,
        "enabled": BOOLEAN, "severity": STRING,
    }))}),
    "Outlook": record({
        "host": STRING, "fit": {"type": "string", "enum": [str(fit) for fit in Fit]},
        "protected": INTEGER, "without_room": listing(record({"id": STRING, "why": STRING})),
        "missing": {"type": "object", "additionalProperties": INTEGER}, "says": STRING,
    }),
    "Capacity": record({
        "fit": {"type": "string", "enum": [*(str(fit) for fit in Fit), "not known"]},
        "says": STRING, "hosts": listing(ref("Outlook")),
        "reading": BOOLEAN | {"description": "it will be known in a few seconds: ask again"},
    }),
    "Protection": record({"servers": listing(record({
        "id": STRING, "name": STRING, "host": maybe(STRING), "protected": BOOLEAN,
        "by": STRING, "priority": INTEGER, "status": STRING, "problem": maybe(STRING),
    })), "trouble": listing(STRING)}),
}  # fmt: skip
ANSWERS["Incident"] = record(
    {
        **ANSWERS["Summary"]["properties"],
        "waived": listing(STRING),
        "released_by": STRING,
        "proof": maybe(
            record({"driver": STRING, "proves": STRING, "evidence": STRING, "time": TIME})
        ),
        "steps": listing(ref("Step")),
        "servers": listing(ref("Vm")),
        "changes": listing(record({"time": TIME, "state": STRING, "sentence": STRING})),
    }
)
ANSWERS["IncidentAnswer"] = record({"incident": ref("Incident")})
