# SPDX-License-Identifier: Apache-2.0
"""What is asked of Nova about VMs that move: little, however many there are."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, cast

from tests.unit.remedy.build import NOW, incident, server
from vmha_remediator.engine import vm_view
from vmha_remediator.engine.ports import Cloud
from vmha_remediator.remedy.facts import Migration, Server
from vmha_remediator.remedy.incident import VmRecord, VmStatus


@dataclass
class Asked:
    """Nova, with a note of each question."""

    servers_by_id: dict[str, Server]
    changed: set[str] = field(default_factory=set)  # what it calls changed
    notes: list[str] = field(default_factory=list)
    since: float = 0.0

    def evacuations(self, host: str) -> list[Migration]:
        self.notes.append("records")
        return []

    def servers(self, host: str) -> list[Server]:
        self.notes.append("servers")
        return [s for s in self.servers_by_id.values() if s.host == host]

    def changed_since(self, time: float) -> list[Server]:
        self.notes.append("changed")
        self.since = time
        return [s for s in self.servers_by_id.values() if s.id in self.changed]

    def server(self, server_id: str) -> Server | None:
        self.notes.append(server_id)
        return self.servers_by_id.get(server_id)


def _look(asked: Asked, *names: str, **fields: Any) -> set[str]:
    records = tuple(
        VmRecord(f"id-{n}", n, "h1", status=VmStatus.MOVING, not_before=NOW - 9) for n in names
    )
    records = tuple(replace(record, **fields) for record in records)
    found = incident("evacuating", vms=records)
    return {s.name for s in vm_view.look(cast(Cloud, asked), found)[1]}


def _moved(*names: str) -> dict[str, Server]:
    return {f"id-{name}": server(name, host="h2") for name in names}


def test_records_are_read_before_servers() -> None:
    asked = Asked({"id-a": server("a")})
    assert _look(asked, "a") == {"a"}
    assert asked.notes == ["records", "servers"]


def test_two_that_have_left_are_asked_for_singly() -> None:
    asked = Asked(_moved("a", "b"))
    assert _look(asked, "a", "b") == {"a", "b"}
    assert asked.notes == ["records", "servers", "id-a", "id-b"]


def test_many_that_have_left_cost_one_question() -> None:
    asked = Asked(_moved(*"abcdefgh", "stranger"), changed={f"id-{n}" for n in "abcdefgh"})
    assert _look(asked, *"abcdefgh") == set("abcdefgh")
    assert asked.notes == ["records", "servers", "changed"]
    assert asked.since == NOW - 9 - vm_view.MARGIN


def test_one_that_nova_does_not_call_changed_is_asked_for_too() -> None:
    asked = Asked(_moved("a", "b", "c"), changed={"id-a", "id-b"})
    assert _look(asked, "a", "b", "c", "gone") == {"a", "b", "c"}
    assert asked.notes[2:] == ["changed", "id-c", "id-gone"]


def test_those_that_are_over_with_are_not_asked_for() -> None:
    asked = Asked(_moved("a", "b", "c"))
    assert _look(asked, "a", "b", "c", status=VmStatus.DONE) == set()
    assert asked.notes == ["records", "servers"]
