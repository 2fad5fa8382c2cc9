# SPDX-License-Identifier: Apache-2.0
"""Status and dump as text for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return rows under `head`, columns as wide as they have to be."""
    lines = [list(head), *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(line[n]) for line in lines) for n in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _cell(value: object) -> str:
    if value is None:
        return "?"
    if isinstance(value, float):
        return f"{value:.1f} s"
    if isinstance(value, list | tuple):
        return ",".join(str(v) for v in value) or "-"
    return str(value)


#: Up to so many peers are shown, well or not.
FEW = 32
#: Ages (s) up to which a peer needs nobody's attention.
HEARD_WELL, LEASE_WELL = 3.0, 5.0


def status(data: dict[str, Any], everybody: bool = True) -> str:
    """Return the human view of `report.status`.

    Of many peers only those that are not well, and the witnesses, unless `everybody` is asked for.
    """
    lease, roster = data["lease"], data["roster"]
    lines = [
        f"host       {data['host']}: {data['role']}, "
        + ("qualified" if data["qualified"] else "NOT qualified")
        + (", ISOLATED" if data["isolated"] else ""),
        *(f"  because  {why}" for why in data["why"]),
        f"hears      {data['hears']} of {data['live']} live hosts (itself included)",
        f"clock      {_clock(data['clock'])}",
        f"lease      slot {_cell(lease['slot'])} of cluster {_cell(lease['cluster'])}, "
        f"renewed {_cell(lease['renewed'])} ago, table read {_cell(lease['read'])} ago",
        f"storage    {lease['path']}, driver {lease['driver']}, {lease['taken']} of "
        f"{_cell(lease['slots'])} slots taken",
        *(f"  problem  {problem}" for problem in lease["problems"]),
    ]
    if roster is None:
        lines.append("roster     none yet")
    else:
        lines.append(
            f"roster     term {roster['term']}, master {roster['master']}, witnesses "
            f"{', '.join(roster['witnesses'])}{' (STALE)' if roster['stale'] else ''}"
        )
    watchdog = data.get("watchdog")
    if watchdog is not None:
        lines.append(
            f"watchdog   armed, {_cell(watchdog['timeout'])}; this host is reset at most "
            f"{_cell(watchdog['promise'])} after its last grounds to live"
            if watchdog["armed"]
            else f"watchdog   NOT armed: {watchdog['problem'] or 'no grounds to live yet'}"
        )
    if data["believed"]:
        lines.append(f"believes   {', '.join(data['believed'])}")
    lines += [f"event      {_when(at)} {what}" for at, what in lease["events"]]
    heartbeats, refused = data["heartbeats"]["problem"], data["heartbeats"]["refused"]
    if heartbeats:
        lines.append(f"  problem  {heartbeats}")
    if refused:
        lines.append("refused    " + ", ".join(f"{n} x {why}" for why, n in refused.items()))
    if dropped := data["heartbeats"].get("dropped"):
        lines.append(f"dropped    {dropped} packets that did not fit: raise net.core.rmem_max")
    peers = data["peers"]
    shown = peers if everybody or len(peers) <= FEW else [p for p in peers if _matters(p, data)]
    lines.append(_count(peers))
    if len(shown) < len(peers):
        lines.append(
            f"shown      {len(shown)}: the witnesses and who is not well; --all: everybody"
        )
    head = (
        "HOST",
        "SLOT",
        "ADDRESS",
        "HEARD",
        "LEASE",
        "HEARS US",
        "CLOCK",
        "PROBE",
        "PROVEN",
        "FLAGS",
    )
    rows = [
        (
            p["host"],
            p["slot"],
            p["address"],
            p["heard"],
            p["lease"],
            p["hears_us"],
            p["clock"],
            p["probe"],
            p["probe_proven"],
            p["flags"],
        )
        for p in shown
    ]
    notes = [f"{p['host']}: {p['problem']}" for p in shown if p["problem"]]
    return "\n".join([*lines, "", table(head, rows), *notes])


def _is_heard(peer: dict[str, Any]) -> bool:
    return peer["heard"] is not None and peer["heard"] <= HEARD_WELL


def _lives(peer: dict[str, Any]) -> bool:
    return peer["lease"] is not None and peer["lease"] <= LEASE_WELL


def _matters(peer: dict[str, Any], data: dict[str, Any]) -> bool:
    """Tell whether a person wants to see this peer among many."""
    roster = data["roster"] or {"witnesses": []}
    return (
        not _is_heard(peer)
        or not _lives(peer)
        or bool(peer["problem"])
        or bool({"isolated", "leaving", "claiming"} & set(peer["flags"]))
        or abs(peer["clock"] or 0.0) > 1.0
        or peer["host"] in {*roster["witnesses"], data["host"]}
    )


def _count(peers: Sequence[dict[str, Any]]) -> str:
    heard, live = sum(map(_is_heard, peers)), sum(map(_lives, peers))
    return f"peers      {len(peers)} known, {heard} just heard, {live} leases just renewed"


def _clock(offset: float | None) -> str:
    if offset is None:
        return "not compared: no live peer is heard"
    return f"{offset:+.2f} s off the median of its peers' clocks"


def dump(data: dict[str, Any]) -> str:
    """Return the human view of `area.dump`."""
    header, roster = data["header"], data["roster"]
    lines = [
        f"cluster    {header['cluster']}, {header['hosts']} slots, area {header['uuid']}, "
        f"made {_when(header['created'])}",
        f"storage    {'direct I/O' if data['direct_io'] else 'synchronous writes (no O_DIRECT)'}",
    ]
    if roster is None:
        lines.append(f"roster     {data['roster_problem'] or 'none yet'}")
    else:
        lines.append(
            f"roster     term {roster['term']}.{roster['sequence']}, master slot "
            f"{roster['master']}, witnesses {roster['witnesses']}, members {roster['members']}, "
            f"written {_when(roster['written'])}"
        )
    head = ("SLOT", "HOST", "ADDRESS", "GEN", "SEQ", "PRIO", "FLAGS", "WRITTEN", "BOOT")
    rows = [
        (
            s["slot"],
            s["host"],
            s["address"],
            s["generation"],
            s["sequence"],
            s["priority"],
            s["flags"],
            _when(s["written"]),
            s["boot_id"],
        )
        for s in data["slots"]
    ]
    damage = [f"DAMAGED    {why}" for why in data["damaged"].values()]
    return "\n".join([*lines, *damage, "", table(head, rows)])


def _when(wall: float) -> str:
    return datetime.fromtimestamp(wall, UTC).strftime("%Y-%m-%d %H:%M:%SZ") if wall else "never"
