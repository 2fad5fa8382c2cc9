# SPDX-License-Identifier: Apache-2.0
"""Incidents and facts for the tests, with everything in order unless a test says otherwise."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from vmha_remediator.remedy.facts import Cluster, Facts, Server, Service
from vmha_remediator.remedy.incident import POWER_OFF, Incident, ProofRecord
from vmha_remediator.remedy.states import IncidentState
from vmha_remediator.rules.judge import State, Verdict

NOW = 1_800_000_000.0
ACTION = {"failure": "recover"}


def verdict(rule: str, state: State) -> Verdict:
    return Verdict(rule, "h1", state, ACTION.get(rule, "report"), "low", f"{rule} evidence")


def in_doubt(lease_age: float = 7.5) -> Facts:
    """Return facts in which a failure does not hold, and nothing shows that it is over."""
    known = facts(None, heartbeat_age=9.0, lease_age=lease_age)
    verdicts = (replace(v, doubtful=v.rule == "failure") for v in known.verdicts)
    return replace(known, verdicts=tuple(verdicts))


def incident(state: str, **fields: Any) -> Incident:
    """Return an incident of h1; from fenced on it carries a fresh proof."""
    rule = fields.pop("rule", "failure")
    values: dict[str, Any] = {
        "id": 7,
        "host": "h1",
        "rule": rule,
        "action": ACTION.get(rule, "report"),
        "severity": "critical",
        "state": IncidentState(state),
        "evidence": "evidence",
        "reason": "",
        "advice": "",
        "opened": NOW - 5,
        "updated": NOW - 1,
        "epoch": 1,
        "version": 1,
    }
    if state in ("fencing", "fenced", "evacuating", "recovered"):
        values["fencing_since"] = NOW - 3
    if state in ("fenced", "evacuating", "recovered"):
        values["proof"] = ProofRecord("redfish", POWER_OFF, "power reads off", NOW - 2)
        values["forced_by_us"] = state != "fenced"
    return Incident(**(values | fields))


def service(**fields: Any) -> Service:
    values: dict[str, Any] = {
        "id": "s1",
        "host": "h1",
        "up": True,
        "enabled": True,
        "forced_down": False,
        "updated_at": NOW - 20,
    }
    return Service(**(values | fields))


def server(name: str, **fields: Any) -> Server:
    values: dict[str, Any] = {
        "id": f"id-{name}",
        "name": name,
        "host": "h1",
        "status": "ACTIVE",
        "vm_state": "active",
        "tags": frozenset({"vmha"}),
    }
    return Server(**(values | fields))


def facts(standing: str | None = "failure", **fields: Any) -> Facts:
    """Return facts in which one rule is in alarm and the host is heard or not accordingly."""
    rules = ("failure", "isolation", "agent-down", "storage-lost")
    verdicts = tuple(verdict(r, State.ALARM if r == standing else State.OK) for r in rules)
    dead = standing == "failure"
    values: dict[str, Any] = {
        "host": "h1",
        "verdicts": verdicts,
        "standing": next((v for v in verdicts if v.state is State.ALARM), None),
        "heartbeat_age": 12.0 if dead else 0.5,
        "lease_age": 12.0 if dead else 1.0,
        "service": service(),
        "cluster": Cluster(
            hosts=frozenset({"h1", "h2", "h3", "h4"}),
            failing=frozenset({"h1"}) if dead else frozenset(),
            fenced=frozenset(),
            unwell=frozenset({"h1"}),
        ),
        "servers": (),
        "migrations": (),
    }
    return Facts(**(values | fields))


def no_measures(**fields: Any) -> Facts:
    """Return facts while telemetry says nothing."""
    quiet = {"verdicts": (), "standing": None, "heartbeat_age": None, "lease_age": None}
    return facts(**(quiet | fields))
