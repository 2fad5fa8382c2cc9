# SPDX-License-Identifier: Apache-2.0
"""Does a silent host still answer? ICMP echo and a TCP connect, and how far to trust them."""

from __future__ import annotations

import errno
import logging
import random
import select
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

from vmha_pollsters.lease.layout import Probe

LOG = logging.getLogger(__name__)

TIMEOUT = 1.0  # seconds for one probe
WORKERS = 8
TOGETHER = 8  # hosts that are well are probed by one thread, so many at most
SILENT_ROUNDS = 2  # so many rounds without an answer make a silent host
HEALTHY_AGAIN = 60.0  # seconds between probes of a host that is well, at least, ...
MOST_HEALTHY = 8.0  # ... and no more than so many such probes a second
HEALTHY_RETRY = 5.0  # after a failed one
STALE = 5.0  # a result older than this says nothing
#: A connection error that shows an answer, or the network's word that nobody is there; any
#: other one (no route, no permission) is about this host and says nothing.
ANSWERED = {0, errno.ECONNREFUSED, errno.ECONNRESET}
NO_ANSWER = {errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.EHOSTDOWN, errno.EINPROGRESS}

#: Outcome of one probe by method: True answered, False did not, None could not be tried.
Outcome = Mapping[str, bool | None]


@dataclass
class Record:
    """What probing one host has shown so far. Times are monotonic seconds."""

    proven: set[str] = field(default_factory=set)
    failures: dict[str, int] = field(default_factory=dict)  # in a row, while it was well
    answered: float | None = None
    silent: int = 0  # rounds in a row without any answer
    last: float | None = None
    #: Many hosts that were first probed together are not to be so for ever.
    spread: float = field(default_factory=partial(random.uniform, 0.5, 1.5))

    def note(self, outcome: Outcome, healthy: bool, now: float) -> None:
        """Take in one probe; `healthy`: the host is being heard all the while."""
        self.last = now
        answers = {method for method, ok in outcome.items() if ok}
        if answers:
            self.proven |= answers
            self.answered, self.silent = now, 0
        elif self.proven and all(outcome.get(method) is False for method in self.proven):
            self.silent += 1
        if not healthy:
            return
        self.silent = 0
        for method, ok in outcome.items():
            self.failures[method] = self.failures.get(method, 0) + 1 if ok is False else 0
            if self.failures[method] >= SILENT_ROUNDS:
                self.proven.discard(method)  # filtered by now: its silence means nothing

    def result(self, now: float) -> Probe:
        """Return what probing says of the host now."""
        if not self.proven or self.last is None or now - self.last > STALE:
            return Probe.UNKNOWN
        if self.answered is not None and now - self.answered <= STALE and not self.silent:
            return Probe.ANSWERS
        return Probe.SILENT if self.silent >= SILENT_ROUNDS else Probe.UNKNOWN

    def due(self, healthy: bool, now: float, again: float = HEALTHY_AGAIN) -> bool:
        """Tell whether the host is to be probed now, if well and proven `again` s after."""
        if self.last is None:
            return True
        if not healthy:
            return now - self.last >= TIMEOUT / 2
        doubtful = not self.proven or any(self.failures.values())
        return now - self.last >= (HEALTHY_RETRY if doubtful else again)


def probe(address: str, port: int, timeout: float = TIMEOUT) -> Outcome:
    """Try `address` by TCP and ICMP at the same time; takes at most about `timeout` seconds."""
    deadline = time.monotonic() + timeout
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.setblocking(False)
        error = sock.connect_ex((address, port))
        icmp = _ping(address, timeout)
        if icmp:  # nobody needs to wait for the other one
            return {"icmp": True, "tcp": _connected(sock, error, 0.0) or None}
        left = max(0.0, deadline - time.monotonic())
        return {"icmp": icmp, "tcp": _connected(sock, error, left)}


def _connected(sock: socket.socket, error: int, wait: float) -> bool | None:
    if error == errno.EINPROGRESS and select.select([], [sock], [], wait)[1]:
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error in ANSWERED:
        return True
    return False if error in NO_ANSWER else None


def _ping(address: str, timeout: float) -> bool | None:
    import icmplib  # brings asyncio; only hosts that probe pay for it

    for privileged in (True, False):
        try:
            host = icmplib.ping(address, count=1, timeout=timeout, privileged=privileged)
        except icmplib.SocketPermissionError:
            continue
        except (icmplib.ICMPLibError, OSError) as exc:
            LOG.debug("cannot ping %s: %s", address, exc)
            return None
        if host.is_alive:
            return True
        return False if host.packets_sent else None
    return None


class Prober:
    """Probes hosts in a few threads of its own and remembers what came of it."""

    def __init__(
        self, port: int, attempt: Callable[[str, int], Outcome] = probe, workers: int = WORKERS
    ) -> None:
        self._port = port
        self._attempt = attempt
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="probe")
        self._lock = threading.Lock()
        self._records: dict[str, Record] = {}
        self._lately: dict[str, Record] = {}  # those of them that were probed of late
        self._running: set[str] = set()
        self._answers: dict[str, float] = {}

    def consider(self, host: str, address: str, healthy: Callable[[], bool], now: float) -> None:
        """Probe `host` if its turn has come; `healthy` tells whether it is heard right now."""
        well = healthy()
        if self._begin(host, well, now):
            self._pool.submit(self._run, host, address, healthy, well)

    def consider_well(
        self, hosts: Sequence[tuple[str, str]], healthy: Callable[[str], bool]
    ) -> None:
        """Do the same for many hosts (with their addresses) that are well, one after another.

        They answer at once, and a thread that wakes up for each costs ten times as much as that.
        """
        for place in range(0, len(hosts), TOGETHER):
            self._pool.submit(self._run_well, hosts[place : place + TOGETHER], healthy)

    def _run_well(self, hosts: Iterable[tuple[str, str]], healthy: Callable[[str], bool]) -> None:
        for host, address in hosts:
            # Who has fallen silent meanwhile does not wait for those before it: see `consider`.
            if healthy(host) and self._begin(host, True, time.monotonic()):
                self._run(host, address, partial(healthy, host), True)

    def _begin(self, host: str, well: bool, now: float) -> bool:
        """Tell whether it is the turn of `host`, which then has begun."""
        with self._lock:
            record = self._records.get(host)
            if record is None:
                record = self._records[host] = Record()
            if well:
                record.silent = 0
            if host in self._running or not record.due(well, now, self._again(record)):
                return False
            self._running.add(host)
            return True

    def due(self, hosts: Iterable[str], now: float) -> list[str]:
        """Return those of `hosts`, all of which are well, that `consider` would probe now."""
        found = []
        with self._lock:
            for host in hosts:
                record = self._records.get(host)
                if record is None or record.due(True, now, self._again(record)):
                    found.append(host)
                else:
                    record.silent = 0
        return found

    def _again(self, record: Record) -> float:
        """Return after how long a host that is well and proven is probed again."""
        if len(self._records) <= MOST_HEALTHY * HEALTHY_AGAIN:
            return HEALTHY_AGAIN
        return len(self._records) / MOST_HEALTHY * record.spread

    def _run(self, host: str, address: str, healthy: Callable[[], bool], was: bool) -> None:
        outcome: Outcome = {}
        try:
            outcome = self._attempt(address, self._port)
        except OSError as exc:
            LOG.debug("cannot probe %s at %s: %s", host, address, exc)
        finally:
            with self._lock:
                self._running.discard(host)
                record = self._records.setdefault(host, Record())
                self._lately[host] = record
                record.note(outcome, was and healthy(), time.monotonic())

    def result(self, host: str, now: float) -> Probe:
        """Return what probing says of `host` now."""
        with self._lock:
            record = self._records.get(host)
            return record.result(now) if record is not None else Probe.UNKNOWN

    def results(self, now: float) -> dict[str, Probe]:
        """Return what `result` says of every host that was probed of late."""
        with self._lock:
            self._lately = {
                host: record
                for host, record in self._lately.items()
                if record.last is not None and now - record.last <= STALE
            }
            return {host: record.result(now) for host, record in self._lately.items()}

    def proven(self, host: str) -> tuple[str, ...]:
        """Return the methods that are known to work for `host`."""
        with self._lock:
            record = self._records.get(host)
            return tuple(sorted(record.proven)) if record is not None else ()

    def forget(self, hosts: Iterable[str]) -> None:
        """Drop the records of all hosts but `hosts`."""
        keep = set(hosts)
        with self._lock:
            for host in self._records.keys() - keep:
                del self._records[host]
                self._lately.pop(host, None)

    def anybody(self, addresses: Iterable[str], now: float, within: float) -> bool:
        """Tell whether any of `addresses` answered in the last `within` seconds; ask them."""
        asked = list(addresses)
        with self._lock:
            free = [a for a in asked if a not in self._running]
            self._running.update(free)
            fresh = [a for a in asked if now - self._answers.get(a, float("-inf")) <= within]
        for address in free:
            self._pool.submit(self._ask, address)
        return bool(fresh)

    def _ask(self, address: str) -> None:
        answered = False
        try:
            answered = any(self._attempt(address, self._port).values())
        except OSError as exc:
            LOG.debug("cannot probe %s: %s", address, exc)
        finally:
            with self._lock:
                self._running.discard(address)
                if answered:
                    self._answers[address] = time.monotonic()

    def stop(self) -> None:
        """Start no more probes; those under way end by their time-out."""
        self._pool.shutdown(wait=False, cancel_futures=True)
