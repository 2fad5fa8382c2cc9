# SPDX-License-Identifier: Apache-2.0
"""Ceilometer pollster `vmha.host`: all samples of a cycle, as the local agent knows them."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

from ceilometer import sample
from ceilometer.polling import plugin_base

from vmha_pollsters.ask import ask
from vmha_pollsters.conf import POLLSTER_GROUP, POLLSTER_OPTS
from vmha_pollsters.pace import Pace
from vmha_pollsters.reading import Reading, values
from vmha_remediator.errors import AgentUnavailable
from vmha_remediator.rules import metrics

LOG = logging.getLogger(__name__)

#: A wall clock that leaves the monotonic one by so much (s) from one cycle to the next has been
#: set. NTP slews by far less in that time; agents tolerate 1 s.
STEP = 0.5
#: An agent whose last tick is older (s) is stuck, and what it knew is history.
STALE = 3.0
#: A role that was published is read for so long (s): two granularities, rounded up by Gnocchi.
ROLE_LASTS = 3.0 * metrics.ARCHIVE_POLICY.granularity
_resource_id = lru_cache(maxsize=4096)(metrics.resource_id)  # the same hosts come again
NOBODY: Mapping[int, str] = MappingProxyType({})


class HostPollster(plugin_base.PollsterBase):
    """Publishes this host's heartbeat, and if it is a qualified witness, all hosts' evidence."""

    def __init__(self, conf: Any) -> None:
        super().__init__(conf)
        conf.register_opts(POLLSTER_OPTS, group=POLLSTER_GROUP)
        self._pace = Pace()
        self._own_pace = Pace()
        self._places: dict[int, str] = {}  # slot -> host, of all that are watched
        self._had_role = float("-inf")  # when it was last master or witness
        self._said = ""
        self._ahead: float | None = None  # the wall clock minus the monotonic one

    @property
    def default_discovery(self) -> str:
        """Return the name of the discovery in namespace ceilometer.discover.vmha."""
        return "vmha_agent"

    def get_samples(
        self, manager: Any, cache: Any, resources: Iterable[str]
    ) -> Iterator[sample.Sample]:
        """Yield the samples due now; nothing when the agent is silent, stuck or gone."""
        if self._clock_was_set():
            # The samples would be dated by it, and the agent may not have noticed yet.
            self._say(logging.WARNING, "nothing to publish this time: the clock has been set")
            return
        for path in resources:
            now = time.monotonic()
            waiting = {n: h for n, h in self._places.items() if self._pace.waits(h, now)}
            try:
                skip = f"{sum(1 << n for n in waiting):x}"
                answer = ask(path, "readings", skip=skip, rows="1")
            except AgentUnavailable as exc:
                self._say(logging.ERROR, f"nothing to publish: {exc}")
                continue
            yield from self._samples(answer, now, waiting)

    def _samples(
        self, answer: dict[str, Any], now: float, waiting: Mapping[int, str] = NOBODY
    ) -> Iterator[sample.Sample]:
        if answer["age"] > STALE:
            self._say(logging.ERROR, "nothing to publish: vmha-agent is stuck")
            return
        hosts = _hosts(answer)
        self._say(logging.INFO, _sentence(answer, hosts))
        # Gnocchi drops what is older than its newest point: one from a clock that is ahead
        # would blind the metric for as long.
        own = dict(answer.get("own", {}))
        role = own.pop(metrics.ROLE.name, 0.0)
        doubts = not all(own.values())
        own |= self._role(role, now)
        if answer["clock_ok"] and self._own_pace.is_due(answer["host"], 0, doubts, now):
            yield _sample(metrics.HEARTBEAT.name, answer["host"], 1.0)
            for name, value in own.items():
                yield _sample(name, answer["host"], value)
        self._places = dict(waiting) if answer["watched"] else {}
        self._places |= {told.slot: told.host for told in hosts}
        self._pace.forget_all_but(set(self._places.values()))
        for told in hosts:
            if self._pace.is_due(told.host, told.slot, told.suspect, now):
                for name, value in told.values.items():
                    yield _sample(name, told.host, value)

    def _role(self, role: float, now: float) -> dict[str, float]:
        """Return what is published of the role: a member's only while its last one is read."""
        if role:
            self._had_role = now
        return {metrics.ROLE.name: role} if now - self._had_role < ROLE_LASTS else {}

    def _clock_was_set(self) -> bool:
        """Tell whether the wall clock has been set since this was asked last.

        Gnocchi drops what is older than its newest point: samples dated by a clock that is ahead
        would blind the metrics of every host for as long as it was ahead.
        """
        ahead, before = time.time() - time.monotonic(), self._ahead
        self._ahead = ahead
        return before is not None and abs(ahead - before) > STEP

    def _say(self, level: int, sentence: str) -> None:
        if sentence != self._said:  # once a change, not every two seconds
            LOG.log(level, sentence)
            self._said = sentence


class _Host(NamedTuple):
    """What the agent tells of one host."""

    host: str
    slot: int
    suspect: bool
    values: dict[str, float]  # by metric


def _hosts(answer: dict[str, Any]) -> list[_Host]:
    if "rows" not in answer:  # an agent of an earlier release, which is about to be restarted
        return [_Host(**entry) for entry in answer["hosts"]]
    found = [Reading(*row[: len(Reading._fields)]) for row in answer["rows"]]
    return [_Host(r.host, r.slot, r.suspect, values(r)) for r in found]


def _sentence(answer: dict[str, Any], hosts: Iterable[_Host]) -> str:
    if answer["watched"]:
        suspects = [told.host for told in hosts if told.suspect]
        extra = f", suspect: {', '.join(suspects)}" if suspects else ""
        return f"{answer['role']}: publishing for {answer['watched']} hosts{extra}"
    why = "; ".join(answer["why"]) or "it is no witness"
    return f"{answer['role']}: publishing its own heartbeat only, since {why}"


def _sample(name: str, host: str, value: float) -> sample.Sample:
    return sample.Sample(
        name=name,
        type=sample.TYPE_GAUGE,
        unit=metrics.METRICS[name].unit,
        volume=value,
        user_id=None,
        project_id=None,
        resource_id=_resource_id(host),
        resource_metadata={"host": host},  # the same from every witness: no PATCH a sample
    )
