# SPDX-License-Identifier: Apache-2.0
"""Checks of the services: versions, clocks, Gnocchi's set-up, who leads, who listens."""

from __future__ import annotations

from collections.abc import Iterator

from vmha_remediator.doctor.finding import Finding, Seen, Unread, ok, unknown, wrong
from vmha_remediator.effects.nova import SERVERS
from vmha_remediator.effects.nova_api import MIN_VERSION

AREA = "services"
#: Seconds. Gnocchi drops what is older than its last point by more than its back window (60 s
#: here), and one point from the future blinds a metric; agents hold themselves to 1 s.
SKEW = 1.5
#: Seconds after which a leader that says nothing has gone.
QUIET = 30.0


def own_files(seen: Seen) -> Iterator[Finding]:
    """Every option in our own files is one that something reads."""
    check = "configuration"
    for sentence in seen.unread:
        yield wrong(AREA, check, sentence, "correct it, or take it out: its default holds now")
    if not seen.unread:
        yield ok(AREA, check, "every option in it is read")


def nova(seen: Seen) -> Iterator[Finding]:
    """Nova has the microversions that a recovery needs."""
    check = "nova"
    if isinstance(seen.nova_version, Unread):
        yield wrong(AREA, check, seen.nova_version.why, "check [cloud] and Nova's endpoint")
        return
    version = "{}.{}".format(*seen.nova_version)
    if seen.nova_version < MIN_VERSION:
        need = "{}.{}".format(*MIN_VERSION)
        yield wrong(
            AREA, check, f"Nova offers {version}, a recovery needs {need}", "upgrade Nova (Pike)"
        )
    elif seen.nova_version < SERVERS:
        yield ok(AREA, check, f"Nova offers {version}: image properties are asked of Glance")
    else:
        yield ok(AREA, check, f"Nova offers {version}")


def gnocchi(seen: Seen) -> Iterator[Finding]:
    """The archive policy and the resource type are as the metrics need them."""
    check = "gnocchi"
    if isinstance(seen.telemetry, Unread):
        fix = "vmha-manage telemetry setup says the same and what to do"
        yield wrong(AREA, check, seen.telemetry.why, fix)
        return
    todo = [line for line in seen.telemetry if "would be" in line]
    if todo:
        yield wrong(AREA, check, "; ".join(todo), "vmha-manage telemetry setup")
    else:
        yield ok(AREA, check, "archive policy and resource type are as they should be")


def leader(seen: Seen) -> Iterator[Finding]:
    """An engine leads, and has said something lately."""
    check = "engine"
    if isinstance(seen.leader, Unread):
        fix = "look at [database] connection, and: vmha-manage db upgrade"
        yield wrong(AREA, check, seen.leader.why, fix)
    elif seen.leader is None:
        yield wrong(
            AREA,
            check,
            "no engine has led yet: none runs, or those that run stand by",
            "start vmha-remediator; where it runs, its log says why it stands by",
        )
    elif seen.leader.said_at is None:
        yield wrong(
            AREA,
            check,
            f"{seen.leader.owner} has taken the lead and not said anything yet",
            "look again in a minute, and at its log",
        )
    elif (quiet := seen.now - seen.leader.said_at) > QUIET:
        yield wrong(
            AREA,
            check,
            f"{seen.leader.owner} led last and has said nothing for {quiet:.0f} s",
            "start vmha-remediator, or look at its log",
        )
    else:
        yield ok(AREA, check, f"{seen.leader.owner} leads: {seen.leader.said}")


def receiver(seen: Seen) -> Iterator[Finding]:
    """Somebody answers at the address that the alarms call."""
    check = "webhook"
    if isinstance(seen.receiver, Unread):
        yield wrong(
            AREA,
            check,
            f"nobody answers at [webhook] base_url: {seen.receiver.why}",
            "start vmha-remediator, or set base_url to where it listens; then: vmha-manage "
            "alarms sync. Until then failures are found by listing, a few seconds later",
        )
    elif seen.receiver:
        yield ok(AREA, check, "the receiver answers at [webhook] base_url")
    else:
        yield wrong(
            AREA, check, "something else answers at [webhook] base_url", "check the address"
        )


def key(seen: Seen) -> Iterator[Finding]:
    """Only its owner reads the key that signs webhooks."""
    check = "webhook key"
    if isinstance(seen.key_mode, Unread):
        yield wrong(AREA, check, seen.key_mode.why, "write one: head -c 32 /dev/urandom | base64")
    elif seen.key_mode & 0o007:
        yield wrong(
            AREA,
            check,
            f"everybody on this machine can read the key (mode {seen.key_mode & 0o777:o})",
            "chmod 640 it; and write a new one, then: vmha-manage alarms sync",
        )
    else:
        yield ok(AREA, check, "the key is readable for its owner and group only")


def clocks(seen: Seen) -> Iterator[Finding]:
    """The services' clocks agree with this machine's."""
    check = "clocks"
    if isinstance(seen.clocks, Unread):
        yield unknown(AREA, check, seen.clocks.why, "run NTP on every machine: chronyc tracking")
        return
    off = [c for c in seen.clocks if abs(c.ahead) > SKEW]
    for clock in off:
        way = "ahead of" if clock.ahead > 0 else "behind"
        yield wrong(
            AREA,
            check,
            f"{clock.service}'s clock is {abs(clock.ahead):.1f} s {way} this machine's",
            "run NTP on both: chronyc tracking",
        )
    if seen.clocks and not off:
        yield ok(AREA, check, f"{len(seen.clocks)} services have our time within {SKEW:g} s")


def agent(seen: Seen) -> Iterator[Finding]:
    """The local agent, when there is one, has nothing to complain of."""
    check = "local agent"
    if isinstance(seen.agent, Unread):
        yield unknown(AREA, check, seen.agent.why, "run this on a compute host: vmha-agent status")
        return
    doubts = [str(d) for d in seen.agent.get("why") or ()]
    if doubts:
        yield wrong(AREA, check, "; ".join(doubts), "vmha-agent status")
    else:
        yield ok(AREA, check, "it qualifies as a witness")


CHECKS = (own_files, nova, gnocchi, leader, receiver, key, clocks, agent)
