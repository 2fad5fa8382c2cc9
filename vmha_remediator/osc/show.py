# SPDX-License-Identifier: Apache-2.0
"""How records look in tables: columns as data, times as words."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from osc_lib.cli import format_columns

Record = Mapping[str, Any]
Column = tuple[str, Callable[[Record], Any]]
#: Headers and rows, as openstackclient's listers want them.
Table = tuple[tuple[str, ...], list[tuple[Any, ...]]]
#: Names and values, as its shows want them.
One = tuple[tuple[str, ...], tuple[Any, ...]]


def moment(seconds: float | None) -> str | None:
    """Return a time in UTC, readable and sortable."""
    if seconds is None:
        return None
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def path(name: str) -> Callable[[Record], str]:
    """Return how one path of the evidence is shown: its state, and what that rests on."""
    return lambda host: "{state}: {says}".format(**host["paths"][name])


def compute(host: Record) -> str:
    """Return nova-compute's state in a few words."""
    service = host["service"]
    if service is None:
        return "not known"
    words = ["up" if service["up"] else "down"]
    if service["forced_down"]:
        words.append("forced down")
    if not service["enabled"]:
        words.append(f"disabled ({service['disabled_reason'] or 'no reason given'})")
    return ", ".join(words)


def vms(incident: Record) -> str:
    """Return how many of an incident's VMs are taken care of."""
    count = incident["vms"]
    return f"{count['done']}/{count['total']}" if count["total"] else "-"


def maintenance(host: Record) -> str | None:
    """Return an operator's word that a host is to be left alone."""
    flag = host["maintenance"]
    return f"{flag['reason']} ({flag['who']}, {moment(flag['since'])})" if flag else None


def field(name: str) -> Callable[[Record], Any]:
    """Return one field as it is."""
    return lambda record: record[name]


HOSTS: tuple[Column, ...] = (
    ("Host", field("host")),
    ("State", field("state")),
    ("Role", field("role")),
    ("Verdict", field("verdict")),
    ("Network", path("network")),
    ("Storage", path("storage")),
    ("Compute", compute),
    ("Protected VMs", field("protected")),
    ("Incident", field("incident")),
)
HOST: tuple[Column, ...] = (
    *HOSTS[:4],
    ("Says", field("says")),
    *HOSTS[4:6],
    ("Reachable", path("reachable")),
    ("Telemetry", path("telemetry")),
    ("Isolated", path("isolated")),
    *HOSTS[6:],
    ("Maintenance", maintenance),
)
INCIDENTS: tuple[Column, ...] = (
    ("ID", field("id")),
    ("Host", field("host")),
    ("Rule", field("rule")),
    ("State", field("state")),
    ("Opened", lambda i: moment(i["opened"])),
    ("VMs", vms),
    ("Says", field("says")),
)
INCIDENT: tuple[Column, ...] = (
    *INCIDENTS[:4],
    ("Severity", field("severity")),
    ("Held by", lambda i: i["held_by"] if i["state"] == "held" else ""),
    ("Why", field("reason")),
    ("To do", field("advice")),
    ("Says", field("says")),
    ("Evidence", field("evidence")),
    ("Proof", lambda i: i["proof"] and "{proves} ({driver}): {evidence}".format(**i["proof"])),
    ("Waived", lambda i: format_columns.ListColumn(i["waived"])),
    ("Released by", field("released_by")),
    ("Opened", lambda i: moment(i["opened"])),
    ("Updated", lambda i: moment(i["updated"])),
    ("Closed", lambda i: moment(i["closed"])),
    ("VMs", lambda i: format_columns.ListColumn([vm_line(vm) for vm in i["servers"]])),
)
ALARMS: tuple[Column, ...] = (
    ("Host", field("host")),
    ("Rule", field("rule")),
    ("State", field("state")),
    ("Severity", field("severity")),
    ("Enabled", field("enabled")),
    ("ID", field("id")),
)
CAPACITY: tuple[Column, ...] = (
    ("Host", field("host")),
    ("Protected VMs", field("protected")),
    ("If it fails", field("fit")),
    ("Without room", lambda o: len(o["without_room"])),
    ("Says", field("says")),
)
PROTECTION: tuple[Column, ...] = (
    ("ID", field("id")),
    ("Name", field("name")),
    ("Host", field("host")),
    ("Protected", field("protected")),
    ("By", field("by")),
    ("Priority", field("priority")),
    ("Problem", field("problem")),
)


def vm_line(vm: Record) -> str:
    """Return how far one VM is, in words."""
    to = f" -> {vm['to']}" if vm["to"] else ""
    why = f" ({vm['reason']})" if vm["reason"] else ""
    return f"{vm['name']}: {vm['status']}{to}{why}"


def table(columns: tuple[Column, ...], records: Iterable[Record]) -> Table:
    """Return records as a table."""
    return _headers(columns), [tuple(get(record) for _, get in columns) for record in records]


def one(columns: tuple[Column, ...], record: Record) -> One:
    """Return one record."""
    return _headers(columns), tuple(get(record) for _, get in columns)


def _headers(columns: tuple[Column, ...]) -> tuple[str, ...]:
    return tuple(header for header, _ in columns)
