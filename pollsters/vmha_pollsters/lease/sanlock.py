# SPDX-License-Identifier: Apache-2.0
"""Lease driver `sanlock`: a lease lives while its record in a sanlock lockspace is renewed.

The daemon is asked by `sanlock client host_status`; hosts are found by their owner name
(`our_host_name` in sanlock.conf), which has to be the host's name in the slots.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from vmha_pollsters.lease.contract import Sight, Table
from vmha_pollsters.lease.slots import SlotsLease
from vmha_remediator.errors import LeaseError

#: sanlock renews every 2 io_timeouts and gives a host up after 8 (sanlock(8), delta leases).
RENEWAL, FAIL = 2, 8
#: Longest owner name in a delta lease (SANLK_NAME_LEN).
MOST_NAME = 48
TIMEOUT = 2.0
_AREA = uuid.uuid5(uuid.NAMESPACE_OID, "vmha sanlock lockspace")


@dataclass(frozen=True)
class Record:
    """What the local daemon read of one host's delta lease; times are monotonic seconds."""

    host_id: int
    name: str
    generation: int
    timestamp: int  # of its last renewal, by that host's own clock; 0: released
    checked: int  # when the local daemon last read it
    io_timeout: int


class SanlockLease:
    """Judges freshness as `slots` does, by when this host's daemon saw a timestamp change.

    The daemon's own verdicts (LIVE, FAIL, DEAD) are not used: they compare with *now*, so a
    host whose own storage stalls would accuse all others.
    """

    name = "sanlock"

    def __init__(
        self,
        settings: Any,
        run: Callable[[], str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._host = settings.host or socket.gethostname()
        self._interval = float(settings.lease_interval)
        self._lockspace = str(settings.sanlock_lockspace)
        self._run_dir = settings.sanlock_run_dir
        self._run = run or self._ask
        self._clock = clock
        self._freshness = SlotsLease(settings)
        self._asked = float("-inf")
        self._records: dict[str, Record] = {}
        self._problems: dict[str, str] = {}
        self._sights: dict[int, Sight] = {}
        self._looked = 0

    def look(self, table: Table) -> Mapping[int, Sight]:
        """Return the age of every lease in `table`, as of this host's daemon's last read.

        Raises OSError when the daemon does not answer or its own renewal is overdue,
        `LeaseError` when it renews more slowly than [agent] lease_interval says.
        """
        now = self._clock()
        if now - self._asked >= self._interval / 2:
            self._records, self._problems = self._read()
            self._asked = now
        own = self._own(now)
        if own.checked != self._looked:
            self._sights, self._looked = {}, own.checked
        missing = {n: s for n, s in table.slots.items() if n not in self._sights}
        if missing:
            slots = {
                n: replace(
                    slot,
                    nonce=b"%d" % record.host_id,
                    generation=record.generation,
                    sequence=record.timestamp,
                    views=(),
                )
                for n, slot in missing.items()
                if (record := self._records.get(slot.host[:MOST_NAME])) is not None
            }
            seen = replace(
                table,
                started=float(own.checked),  # whole seconds: never older than it is
                finished=own.checked + 1.0,
                header=replace(table.header, uuid=uuid.uuid5(_AREA, str(table.header.uuid))),
                slots=slots,
                sequences={n: slot.sequence for n, slot in slots.items()},
                damaged={n: why for n, s in missing.items() if (why := self._unfit(s.host))},
            )
            self._sights |= self._freshness.look(seen)
        return {n: self._sights[n] for n in table.slots}

    def _own(self, now: float) -> Record:
        own = self._records.get(self._host[:MOST_NAME])
        if own is None:
            raise OSError(
                f"sanlock: no host '{self._host}' in lockspace '{self._lockspace}'; set "
                "our_host_name in sanlock.conf and add the lockspace"
            )
        if RENEWAL * own.io_timeout > self._interval:
            raise LeaseError(
                f"sanlock renews every {RENEWAL * own.io_timeout} s; [agent] lease_interval is "
                f"{self._interval:g}, has to be as long, and the rules' lease threshold 4 times"
            )
        if now - own.timestamp > FAIL * own.io_timeout:
            raise OSError(
                f"sanlock renewed this host's own lease {now - own.timestamp:.0f} s ago: what it "
                "says of others is discarded"
            )
        return own

    def _unfit(self, host: str) -> str | None:
        name = host[:MOST_NAME]
        if name in self._problems:
            return self._problems[name]
        record = self._records.get(name)
        if record is None:
            return f"sanlock: no host '{host}' in lockspace '{self._lockspace}'"
        return None if record.timestamp else f"sanlock: '{host}' released its lease"

    def _read(self) -> tuple[dict[str, Record], dict[str, str]]:
        records: dict[str, Record] = {}
        problems: dict[str, str] = {}
        for record in parse(self._run()):
            other = records.get(record.name)
            if other is not None and other.timestamp and record.timestamp:
                problems[record.name] = (
                    f"sanlock: host ids {other.host_id} and {record.host_id} are both "
                    f"'{record.name}'"
                )
            if other is None or record.timestamp:
                records[record.name] = record
        return records, problems

    def _ask(self) -> str:
        environment = dict(os.environ)
        if self._run_dir:
            environment |= {"SANLOCK_RUN_DIR": self._run_dir, "SANLOCK_PRIVILEGED": "0"}
        command = ["sanlock", "client", "host_status", "-s", self._lockspace, "-D"]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=TIMEOUT, env=environment
            )
        except subprocess.TimeoutExpired as exc:
            raise OSError(f"sanlock: no answer in {TIMEOUT:g} s") from exc
        if done.returncode:
            where = self._run_dir or "the default run directory"
            raise OSError(f"sanlock: no lockspace '{self._lockspace}' or no daemon in {where}")
        return done.stdout


def parse(text: str) -> list[Record]:
    """Return the records in the output of `sanlock client host_status -D`; raises OSError."""
    found: list[dict[str, str]] = []
    for line in text.splitlines():
        if line[:1].isdigit():
            found.append({"host_id": line.split()[0]})
        elif found:
            name, _, value = line.strip().partition("=")
            found[-1][name] = value
    try:
        return [
            Record(
                host_id=int(fields["host_id"]),
                name=fields["owner_name"],
                generation=int(fields["owner_generation"]),
                timestamp=int(fields["timestamp"]),
                checked=int(fields["last_check"]),
                io_timeout=int(fields["io_timeout"]),
            )
            for fields in found
        ]
    except (KeyError, ValueError) as exc:
        raise OSError(f"sanlock: host_status is not understood: {exc!r}") from exc
