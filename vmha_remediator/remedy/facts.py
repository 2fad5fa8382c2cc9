# SPDX-License-Identifier: Apache-2.0
"""What is known right now: plain values, read afresh before every plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from vmha_remediator.remedy.incident import IN_FLIGHT, VmRecord
from vmha_remediator.rules.judge import LAG, State, Verdict

#: Set by the API: no destination has taken it on yet.
ACCEPTED = "accepted"
#: Statuses of an evacuation's migration record that Nova still works on.
UNDER_WAY = frozenset({ACCEPTED, "pre-migrating", "migrating", "running", "queued", "preparing"})
#: Set by the conductor before any destination was asked: nothing was started anywhere.
NOT_STARTED = "error"
#: Set by the destination: something may have been started there.
FAILED = "failed"
#: Begins Nova's disabled_reason where scheduling was disabled by us; only that is undone.
OUR_REASON = "vmha:"
#: Set by the source's nova-compute when it starts again.
COMPLETED = "completed"
FINISHED = frozenset({"done", COMPLETED})
#: Until the source's nova-compute has restarted, these keep its force-down in place.
UNFINISHED = UNDER_WAY | {"done"}


@dataclass(frozen=True)
class Service:
    """A nova-compute service as Nova reports it; `updated_at` in seconds since the epoch."""

    id: str
    host: str
    up: bool
    enabled: bool
    forced_down: bool
    updated_at: float | None = None
    disabled_reason: str | None = None
    zone: str = ""  # availability zone


@dataclass(frozen=True)
class Maintenance:
    """An operator's word that a host is to be left alone; times in seconds since the epoch."""

    host: str
    reason: str
    who: str
    since: float
    until: float | None = None  # None: until it is taken back


@dataclass(frozen=True)
class Server:
    """A server as Nova reports it to an administrator."""

    id: str
    name: str
    host: str | None
    status: str
    vm_state: str
    task_state: str | None = None
    launched: bool = True
    locked: bool = False
    locked_reason: str | None = None
    tags: frozenset[str] = frozenset()
    metadata: Mapping[str, str] = field(default_factory=dict)
    extra_specs: Mapping[str, str] = field(default_factory=dict)
    image_properties: Mapping[str, str] = field(default_factory=dict)
    fault: str = ""
    on_volume: bool = False  # it boots from a volume, so its disk is on no host
    shares: bool = False  # it has a share attached; known only where it was asked for
    vnic_types: frozenset[str] = frozenset()  # of its ports; known only where it was asked for
    power: int | None = None  # nova.compute.power_state: 1 running, 4 shutdown; None: not told
    zone: str | None = None  # availability zone that it must stay in; None: any
    zone_guessed: bool = False  # Nova does not show what was asked for: it ran there
    ram: int = 0  # MB, by its flavor, as the next two
    vcpus: int = 0
    disk: int = 0  # GB: root, ephemeral and swap
    project: str = ""


@dataclass(frozen=True)
class Stop:
    """A request to stop a server; `by` is a user's id, None: Nova found its guest off."""

    by: str | None
    at: float  # seconds since the epoch


@dataclass(frozen=True)
class Migration:
    """A record of an evacuation; times in seconds since the epoch."""

    id: str
    server_id: str
    source: str
    dest: str | None
    status: str
    created: float
    updated: float = 0.0  # 0.0: not since it was created

    @property
    def under_way(self) -> bool:
        """Tell whether Nova still works on it."""
        return self.status in UNDER_WAY


@dataclass(frozen=True)
class ServerGroup:
    """A server group with its policy, as Nova reports it to an administrator."""

    id: str
    name: str
    policy: str
    members: frozenset[str]
    per_host: int = 1  # so many members of an anti-affinity group may meet on one host


@dataclass(frozen=True)
class Aggregate:
    """A host aggregate with its metadata, as Nova reports it to an administrator."""

    name: str
    hosts: frozenset[str]
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Cluster:
    """The hosts as a whole: who there is, who is in trouble, who is left."""

    hosts: frozenset[str]
    failing: frozenset[str]  # unfinished failures, this host's included
    fenced: frozenset[str]  # proven off
    unwell: frozenset[str]  # any active incident or a service that Nova calls down
    maintenance: frozenset[str] = frozenset()  # an operator wants them left alone
    usable: frozenset[str] | None = None  # Nova could start VMs there; None: not known
    in_trouble: frozenset[str] = frozenset()  # the same, without those that are only disabled

    @property
    def healthy(self) -> int:
        """Return how many hosts could take VMs."""
        return len(self.hosts - self.failing - self.fenced - self.unwell - self.maintenance)


@dataclass(frozen=True)
class Facts:
    """All that a plan for one host may rest on; None means: not looked at this time."""

    host: str
    verdicts: tuple[Verdict, ...] = ()
    standing: Verdict | None = None
    heartbeat_age: float | None = None  # s; None: no data
    lease_age: float | None = None  # s; None: no data
    fresh_heartbeat: float = 5.0  # s; a younger heartbeat means that the host is heard
    fresh_lease: float = 8.0
    service: Service | None = None
    cluster: Cluster | None = None
    servers: tuple[Server, ...] | None = None
    others: tuple[Server, ...] = ()  # elsewhere, on which some of them depend
    leaves_stopped: bool = False  # Nova leaves what it evacuates stopped
    migrations: tuple[Migration, ...] | None = None
    power: str | None = None  # "on" | "off" | "unknown"
    still_off: frozenset[str] = frozenset()  # destinations that are proven off, and off now
    #: By the ids of evacuations that nobody has begun: the hosts one of which may; empty: unknown.
    queued: Mapping[str, frozenset[str]] = field(default_factory=dict)
    #: VMs of incidents that are over which it was once asked to run, and was late to begin.
    late_for: tuple[VmRecord, ...] = ()
    #: VMs of other hosts that were being moved when it failed, each with its evacuations.
    asked: tuple[tuple[VmRecord, tuple[Migration, ...]], ...] = ()
    confirmed: str | None = None  # a person's word that the host is off
    maintenance: Maintenance | None = None  # an operator's word to leave the host alone
    groups: tuple[ServerGroup, ...] = ()
    aggregates: tuple[Aggregate, ...] | None = None  # None: not asked, not known
    unfinished: tuple[VmRecord, ...] = ()  # VMs that other incidents are not done with
    services: tuple[Service, ...] = ()  # all of them, when VMs are to be placed
    troubled: Mapping[str, str] = field(default_factory=dict)  # hosts not to be used -> why
    unwatched: frozenset[str] = frozenset()  # hosts of which no witness says anything
    free: Mapping[str, int] = field(default_factory=dict)  # MB; empty: not asked, not known
    situation: Verdict | None = None  # what is wrong with most hosts at once, if it is reported
    failures: int = 0  # how often it was fenced within [guards] quarantine_window
    deeds: tuple[str, ...] = ()  # what the incident's rule asks for beside its report
    moot: str = ""  # why a report on what is no host matters no more

    def state_of(self, rule: str) -> State:
        """Return what one rule says now; a rule that was not judged is UNKNOWN."""
        return next((v.state for v in self.verdicts if v.rule == rule), State.UNKNOWN)

    def over(self, rule: str) -> bool:
        """Tell whether what was read shows that the situation of a rule is over.

        That it does not hold is not enough: see `Verdict.doubtful`.
        """
        return any(v.state is State.OK and not v.doubtful for v in self.verdicts if v.rule == rule)

    @property
    def recovering(self) -> frozenset[str]:
        """Return the ids of the servers that other incidents are not done with."""
        return frozenset(vm.server_id for vm in self.unfinished)

    @property
    def moving_elsewhere(self) -> frozenset[str]:
        """Return the ids of the servers that other incidents are moving."""
        return frozenset(vm.server_id for vm in self.unfinished if vm.status in IN_FLIGHT)

    @property
    def heard(self) -> bool:
        """Tell whether somebody hears the host or sees its lease renewed."""
        return self._seen(1.0)

    @property
    def heard_again(self) -> bool:
        """Tell whether a host that had failed is heard: not by a witness that lags behind."""
        return self._seen(1.0 - LAG)

    def _seen(self, share: float) -> bool:
        """Tell whether an age is below this share of its limit."""
        beat = self.heartbeat_age is not None and self.heartbeat_age < share * self.fresh_heartbeat
        lease = self.lease_age is not None and self.lease_age < share * self.fresh_lease
        return beat or lease
