# SPDX-License-Identifier: Apache-2.0
"""Rows to plain values and back; nothing outside the store ever holds a row."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from vmha_remediator.remedy.incident import (
    Change,
    Incident,
    ProofRecord,
    StepRecord,
    VmRecord,
    VmStatus,
)
from vmha_remediator.remedy.states import IncidentState
from vmha_remediator.store.models import ChangeRow, IncidentRow, StepRow, VmRow

#: Fields with the same name and form in row and record.
_PLAIN = (
    "id", "host", "rule", "action", "severity", "evidence", "reason", "advice", "opened",
    "updated", "closed", "epoch", "version", "held_by", "released_by", "fencing_since",
    "forced_by_us", "heard_since", "well_since", "powered_since", "said",
)  # fmt: skip
#: Ids in one statement; a database takes only so many.
AT_ONCE = 500
_OF_VM = tuple(field.name for field in dataclasses.fields(VmRecord))


#: Statements are made once: to make one costs more than to have a small one answered. They
#: read columns, not objects, since nobody changes what was read.
INCIDENTS = sa.select(IncidentRow.__table__)
_STEPS = (
    sa.select(StepRow.__table__)
    .where(StepRow.incident_id.in_(sa.bindparam("ids", expanding=True)))
    .order_by(StepRow.id)
)
_VMS = (
    sa.select(VmRow.__table__)
    .where(VmRow.incident_id.in_(sa.bindparam("ids", expanding=True)))
    .order_by(VmRow.id)
)


def incidents(
    session: Session, query: sa.Select[Any], values: dict[str, Any], journal: bool = True
) -> list[Incident]:
    """Return what `query`, made of INCIDENTS, finds, with VMs and, if wanted, their journals."""
    found = session.execute(query, values).all()
    ids = [row.id for row in found]
    steps: defaultdict[int, list[StepRecord]] = defaultdict(list)
    vms: defaultdict[int, list[VmRecord]] = defaultdict(list)
    for first in range(0, len(ids), AT_ONCE):
        some = {"ids": ids[first : first + AT_ONCE]}
        for row in session.execute(_STEPS, some) if journal else ():
            steps[row.incident_id].append(step(row))
        for row in session.execute(_VMS, some):
            vms[row.incident_id].append(vm(row))
    return [_incident(row, steps[row.id], vms[row.id]) for row in found]


def _incident(row: Any, steps: Sequence[StepRecord], vms: Sequence[VmRecord]) -> Incident:
    proof = None
    if row.proof is not None:
        proof = ProofRecord(
            driver=row.proof_driver or "",
            proves=row.proof,
            evidence=row.proof_evidence or "",
            time=row.proof_time or 0.0,
        )
    return Incident(
        **{name: getattr(row, name) for name in _PLAIN},
        state=IncidentState(row.state),
        held_from=IncidentState(row.held_from) if row.held_from else None,
        waived=frozenset(row.waived or ()),
        proof=proof,
        steps=tuple(steps),
        vms=tuple(vms),
    )


def incident_values(fields: dict[str, Any]) -> dict[str, Any]:
    """Return column values for `fields` of an Incident; raises `TypeError` for others."""
    known = {field.name for field in dataclasses.fields(Incident)}
    values: dict[str, Any] = {}
    for name, value in fields.items():
        if name not in known:
            raise TypeError(f"an incident has no field {name}")
        if name == "proof":
            values |= {
                "proof": value.proves if value else None,
                "proof_driver": value.driver if value else None,
                "proof_evidence": value.evidence if value else None,
                "proof_time": value.time if value else None,
            }
        elif name == "waived":
            values[name] = sorted(value)
        elif name == "held_from":
            values[name] = str(value) if value else None
        else:
            values[name] = value
    return values


def step(row: Any) -> StepRecord:
    """Return one line of the journal."""
    return StepRecord(row.time, row.step, row.sentence, row.ok, row.finished, row.other_cell)


def vm(row: Any) -> VmRecord:
    """Return one VM's record."""
    values = {name: getattr(row, name) for name in _OF_VM} | {"status": VmStatus(row.status)}
    return VmRecord(**values)


def vm_values(record: VmRecord) -> dict[str, Any]:
    """Return column values for one VM's record."""
    values = {name: getattr(record, name) for name in _OF_VM}
    return values | {"status": str(record.status), "name": record.name[:255]}


def change(row: ChangeRow) -> Change:
    """Return one change of an incident."""
    return Change(
        id=row.id,
        incident_id=row.incident_id,
        host=row.host,
        rule=row.rule,
        severity=row.severity,
        time=row.time,
        before=IncidentState(row.before) if row.before else None,
        after=IncidentState(row.after),
        sentence=row.sentence,
        again=row.claimed_by is not None and row.told is None,
    )
