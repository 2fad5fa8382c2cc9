# SPDX-License-Identifier: Apache-2.0
"""What must hold after every step, whatever was done to the cloud."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.scenarios.sim.hosts import Host
from vmha_remediator.remedy import cluster
from vmha_remediator.remedy.facts import Migration, Server
from vmha_remediator.remedy.incident import POWER_OFF, Change, Incident, VmStatus
from vmha_remediator.remedy.services import SUBJECTS
from vmha_remediator.remedy.states import IncidentState as S
from vmha_remediator.remedy.vm_failure import is_subject

if TYPE_CHECKING:
    from tests.scenarios.sim.world import World

#: Evidence is as old as a publication, an evaluation and a look; a host that has been seen
#: for longer than this must not be switched off. Seconds.
SEEN = 6.0
#: A slot written less long ago than this, or a heartbeat that arrives, shows a living host.
RENEWED = 4.0
#: A verdict may rest on measures that are this old at most (the window that is read).
WINDOW = 30.0
#: A machine that was switched on less long ago cannot have started a guest yet; nobody can ask
#: for its power and act on the answer in no time.
JUST_ON = 5.0
FAILURE = "failure"  # the one rule that may lead to fencing and evacuation
EVERY = 1.0  # s between two looks at everything that is not told by an event


class Violation(BaseException):
    """An invariant does not hold; the text begins with its name.

    No loop of the product may catch it and go on.
    """


class Invariants:
    """Watches what is true, and raises `Violation` when it is what must never be."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._next = 0.0
        self._told: set[int] = set()
        self._evacuated: dict[tuple[str, str, int], int] = {}
        self._boots_off: dict[str, int] = {}  # host -> boot that was proven off
        self.fenced: list[str] = []
        self.evacuations: list[str] = []
        self.peak_fenced = 0

    def violation(self, name: str, what: str) -> None:
        raise Violation(f"{name}: at {self._world.clockwork.now:.3f} s {what}")

    # -- after every step ---------------------------------------------------------------

    def after_step(self) -> None:
        """Look at everything that may have changed without being told."""
        now = self._world.clockwork.now
        if now < self._next:
            return
        self._next = now + EVERY
        self._single_writers()
        self._watch_hosts()

    def _single_writers(self) -> None:
        seen: dict[str, str] = {}
        for host in self._world.hosts.values():
            for vm in host.guests:
                if vm in seen:
                    self.violation("single writer", f"{vm} runs on {seen[vm]} and {host.name}")
                seen[vm] = host.name

    def _watch_hosts(self) -> None:
        now = self._world.clockwork.now
        for host in self._world.hosts.values():
            if not self.visible(host):
                host.seen_since = None
            elif host.seen_since is None:
                host.seen_since = now

    def visible(self, host: Host) -> bool:
        """Tell whether somebody could see now that the host lives."""
        if not host.answers():
            return False
        age = host.slot_age()
        if age is not None and age < RENEWED and host.runs("agent"):
            return True
        others = [h for h in self._world.hosts.values() if h is not host and h.runs("agent")]
        open_to = sum(self._world.network.open(host.name, other.name) for other in others)
        return bool(others) and 2 * open_to > len(others)

    # -- when something happens ------------------------------------------------------------

    def guest_started(self, vm: str, host: Host) -> None:
        for other in self._world.hosts.values():
            if other is not host and vm in other.guests:
                self.violation(
                    "single writer", f"{vm} starts on {host.name} while it runs on {other.name}"
                )
        if not host.powered:
            self.violation("single writer", f"{vm} starts on {host.name}, which is off")

    def fencing(self, host: Host) -> None:
        """A host is being switched off: nobody may be able to see that it lives."""
        incident = self._incident(host.name)
        if incident is None or incident.rule != FAILURE:
            self.violation("only failures", f"{host.name} is fenced without a failure of it")
        assert incident is not None
        now = self._world.clockwork.now
        waived = bool(incident.waived) or bool(incident.released_by)
        seen = host.seen_since
        if host.powered and seen is not None and now - seen > SEEN and not waived:
            self.violation(
                "no kill", f"{host.name} is fenced, though it was seen alive since {seen:.1f} s"
            )
        self.fenced.append(host.name)
        self._boots_off[host.name] = host.boots
        self._storm(host.name)

    def _storm(self, host: str) -> None:
        with self._world.control.database.seen_through():
            active = self._world.control.store.incidents(active_only=True)
        off = {i.host for i in active if i.proven_off and not i.waived} | {host}
        total = len(self._world.hosts)
        share = self._world.control.policy.storm_share
        allowed = max(1, int(total * share))
        self.peak_fenced = max(self.peak_fenced, len(off))
        waived = any("storm" in i.waived for i in active if i.host == host)
        if len(off) > allowed and not waived:
            self.violation("storm", f"{len(off)} of {total} hosts are fenced: {sorted(off)}")

    def restarting(self, server: Server) -> None:
        """Nova has accepted a restart in place: of a dead VM, on a host with nothing wrong."""
        host = self._world.hosts[str(server.host)]
        if server.id in host.guests:
            self.violation("no kill", f"{server.name} is restarted while it runs")
        if "vmha" not in server.tags or server.locked:
            self.violation("in place", f"{server.name} is restarted against its owner's will")
        incident = self._incident(host.name)
        if incident is not None and incident.state is S.RECOVERED and incident.vm(server.id):
            if host.name in self._world.nova.forced:
                self.violation(
                    "in place", f"{server.name} is restarted before {host.name} is back"
                )
            return  # its host is back, and it was to be moved: what it was is in the journal
        stopped = self._world.nova.stops.get(server.id)
        if server.vm_state == "stopped" and (stopped is None or stopped.by is not None):
            self.violation("in place", f"{server.name} is restarted, which somebody stopped")
        if incident is not None:
            self.violation("in place", f"{server.name} is restarted on {host.name} in trouble")

    def evacuating(self, server: Server, record: Migration) -> None:
        """Nova has accepted an evacuation: the proof must be there already."""
        source = self._world.hosts[record.source]
        incident = self._incident(source.name)
        what = f"{server.name} is evacuated from {source.name}"
        if incident is None or incident.rule != FAILURE:
            self.violation("only failures", f"{what} without a failure of it")
        assert incident is not None
        if incident.proof is None or incident.proof.proves != POWER_OFF:
            self.violation("proof first", f"{what} without a stored proof")
        by_person = incident.proof is not None and incident.proof.driver == "manual"
        proven = self._boots_off.get(source.name) == source.boots
        if not by_person and not proven and not self._just_on(source):
            self.violation("proof first", f"{what}, but the proof is not of this boot")
        if source.powered and server.id in source.guests:
            self.violation("proof first", f"{what}, where it still runs")
        nova = self._world.nova
        for other in (r for r in nova.records if r.id not in nova.lost):
            if other.server_id == server.id and other.status in ("accepted", "pre-migrating"):
                hosts = nova.may_begin_on(other)
                if hosts is None or any(map(self._may_live, hosts)):
                    self.violation("at most once", f"{what} while {other.id} is under way")
        self._half_way(server, record, what)
        self.evacuations.append(server.name)

    def _half_way(self, server: Server, record: Migration, what: str) -> None:
        """Where a VM was half begun it may run: only there Nova refuses to begin it twice."""
        name, boot = self._world.nova.half.get(server.id, ("", 0))
        host = self._world.hosts.get(name)
        if host is None or not host.powered or host.boots != boot or record.dest == name:
            return
        self.violation("at most once", f"{what}, which was half begun on {name}")

    def _may_live(self, name: str) -> bool:
        host = self._world.hosts[name]
        return host.powered and not self._just_on(host)

    def _just_on(self, host: Host) -> bool:
        return self._world.clockwork.now - host.booted <= JUST_ON

    def evacuated(self, vm: str, source: str, dest: str) -> None:
        boot = self._boots_off.get(source, self._world.hosts[source].boots)
        key = (vm, source, boot)
        self._evacuated[key] = self._evacuated.get(key, 0) + 1
        if self._evacuated[key] > 1:
            self.violation("at most once", f"{vm} was evacuated twice from one boot of {source}")

    def reported(self, change: Change) -> None:
        """Somebody was told of a change: once, with its evidence, on measures that exist."""
        if change.id in self._told and not change.again:
            self.violation("one report", f"change {change.id} of {change.host} is told twice")
        self._told.add(change.id)
        if not change.sentence.strip():
            self.violation("one report", f"change {change.id} of {change.host} says nothing")
        if change.before is None:
            self._opened(change)

    def _opened(self, change: Change) -> None:
        now = self._world.clockwork.now
        if change.rule in cluster.BY_NAME or is_subject(change.host):
            incident = self._incident(change.host)
            if incident is not None and incident.action != "report":
                self.violation("no action", f"{change.rule} is not only told")
            return
        if change.host in SUBJECTS:
            return  # it is no host: a service that does not answer
        last = self._world.telemetry.published.get(change.host)
        if last is None or now - last > WINDOW + 5.0:
            self.violation(
                "no verdict from silence", f"{change.rule} of {change.host} without measures"
            )

    # -- at the end --------------------------------------------------------------------

    def at_the_end(self) -> None:
        """Every change was told; every VM of a failed host runs or is listed with a reason."""
        self._single_writers()
        store = self._world.control.store
        for incident in store.incidents():
            for change in store.changes(incident.id):
                if change.id not in self._told:
                    self.violation("one report", f"nobody was told: {change.sentence}")
            for vm in incident.vms:
                if vm.status is VmStatus.PENDING and not vm.reason:
                    self.violation("liveness", f"{vm.name} is pending without a reason")
        for name in self.lost():
            self.violation("liveness", f"{name} of a failed host neither runs nor is listed")

    def lost(self) -> list[str]:
        """Return the protected VMs that should run, do not, and are not listed anywhere.

        The list of an incident that is over counts, too: people were told of it at its end.
        """
        found = self._world.control.store.incidents()
        listed = {v.server_id for i in found for v in i.vms if v.status is VmStatus.PENDING}
        held = {i.host for i in found if i.state is S.HELD}
        running = {vm for host in self._world.hosts.values() for vm in host.guests}
        return [
            server.name
            for server in self._world.nova.servers_by_id.values()
            if "vmha" in server.tags
            and server.vm_state not in ("stopped", "suspended", "deleted")
            and server.id not in running | listed
            and server.host not in held
            and self._failed(str(server.host))
        ]

    def _failed(self, host: str) -> bool:
        """Tell whether its guests died with it: whatever else ends one is not a host's matter."""
        return not self._world.hosts[host].powered or self._world.hosts[host].boots > 1

    def healed(self) -> None:
        """Everything was repaired a while ago: one master, all well, nothing is open."""
        world = self._world
        masters = set()
        for host in world.hosts.values():
            if host.agent is None:
                self.violation("healed", f"{host.name} has no agent")
                continue
            picture = host.agent.picture
            masters.add(picture.roster.master if picture.roster is not None else None)
            if not picture.qualification.ok:
                why = "; ".join(picture.qualification.why)
                self.violation("healed", f"the agent of {host.name} is not qualified: {why}")
            if picture.isolated:
                self.violation("healed", f"{host.name} calls itself isolated")
        if len(masters) != 1 or None in masters:
            self.violation("healed", f"the agents follow {sorted(map(str, masters))}")
        for incident in world.control.store.incidents(active_only=True):
            self.violation(
                "healed",
                f"incident {incident.id} of {incident.host} is open: {incident.rule} "
                f"{incident.state}: {incident.said}",
            )
        for server in world.nova.servers_by_id.values():
            on = [h.name for h in world.hosts.values() if server.id in h.guests]
            if on and on != [server.host]:
                self.violation("healed", f"{server.name} runs on {on}, not on {server.host}")
        if world.nova.forced:
            self.violation("healed", f"still forced down: {sorted(world.nova.forced)}")

    def _incident(self, host: str) -> Incident | None:
        with self._world.control.database.seen_through():
            return self._world.control.store.active(host)
