# SPDX-License-Identifier: Apache-2.0
"""A single VM that is off although it should run: restart it in place, tell of it, or leave it.

PURE. Facts are read in stages, cheapest first; each stage's checks may end the matter. Only a
VM that no check stops is restarted, on the host where it is and never anywhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from vmha_remediator.remedy import protect
from vmha_remediator.remedy.facts import Server, Service, Stop
from vmha_remediator.rules.judge import State
from vmha_remediator.rules.vm_rule import RULE

__all__ = ["RULE", "STAGES", "Act", "Decision", "Limits", "VmFacts", "is_subject", "subject"]

#: Metadata by which an owner keeps a protected VM from being restarted in place.
OPT_OUT = "vmha:restart"
_FALSE = frozenset({"0", "f", "false", "off", "n", "no", "never"})
#: Nova's numbers (nova.compute.power_state), not libvirt's: shut down, crashed.
RECORDED_OFF = frozenset({4, 6})
#: Stands before a server's id where an incident names its host; no host is called so.
_SUBJECT = "vm:"


class Act(Enum):
    """What is to be done with a VM now."""

    LEAVE = "leave"  # it is no matter of ours
    WAIT = "wait"  # perhaps later: the alarm rings again
    RESTART = "restart"
    GIVE_UP = "give up"  # tell of it, once


@dataclass(frozen=True)
class Decision:
    """What to do, and the sentence that says why."""

    act: Act
    sentence: str


@dataclass(frozen=True)
class Limits:
    """How often a VM is restarted in place; times in seconds."""

    protect: str = "tagged"
    restarts: int = 3  # within the window; 0: never, it is only told of
    window: float = 3600.0
    settle: float = 5.0  # off for so long, at every look, before anything is done


@dataclass(frozen=True)
class VmFacts:
    """What is known of a VM now; times are seconds since the epoch."""

    server: Server | None = None
    told: bool = False  # it has been reported, and that stands
    host_trouble: str = ""  # why its host is not to be trusted with it; empty: it is well
    service: Service | None = None
    last_stop: Stop | None = None
    off: State = State.UNKNOWN  # what the rule says of its measured power state
    runs: bool | None = None  # by its nova-compute, just now; None: it cannot say
    restarts: tuple[float, ...] = field(default=())  # of ours, within the window
    off_since: float | None = None  # at every look of this engine


Check = Callable[[VmFacts, Limits, float], Decision | None]


def subject(server_id: str) -> str:
    """Return what stands for a VM where an incident names its host."""
    return f"{_SUBJECT}{server_id}"


def is_subject(host: str) -> bool:
    """Tell whether an incident is about a VM; `host` is what it names."""
    return host.startswith(_SUBJECT)


def server_id(host: str) -> str:
    """Return the server's id of such an incident."""
    return host.removeprefix(_SUBJECT)


def moot(server: Server | None, limits: Limits, last_stop: Stop | None) -> str:
    """Return why a VM that was given up is no matter any more; empty: it still is."""
    if server is None:
        return "its VM was deleted"
    if not protect.is_protected(server, limits.protect):
        return "its VM is not protected any more"
    if server.vm_state == "stopped" and last_stop is not None and last_stop.by is not None:
        return "a user has stopped its VM"
    return ""


def _leave(facts: VmFacts, why: str) -> Decision:
    return Decision(Act.LEAVE, f"{_name(facts)}: left alone, {why}")


def _wait(facts: VmFacts, why: str) -> Decision:
    return Decision(Act.WAIT, f"{_name(facts)}: waiting, {why}")


def _name(facts: VmFacts) -> str:
    return f"VM {facts.server.name}" if facts.server is not None else "VM"


# -- what Nova has recorded ---------------------------------------------------------------


def _wanted(facts: VmFacts, limits: Limits, now: float) -> Decision | None:
    server = facts.server
    if server is None:
        return _leave(facts, "there is no such server")
    if not protect.is_protected(server, limits.protect):
        return _leave(facts, "it is not protected")
    if server.metadata.get(OPT_OUT, "").strip().lower() in _FALSE:
        return _leave(facts, f"its metadata {OPT_OUT} says so")
    if server.locked:
        reason = f" ({server.locked_reason})" if server.locked_reason else ""
        return _leave(facts, f"it is locked{reason}")
    if facts.told:
        return _leave(facts, "it was reported, and has not run long enough since")
    return None


def _possible(facts: VmFacts, limits: Limits, now: float) -> Decision | None:
    server = facts.server
    assert server is not None
    if server.task_state:
        return _wait(facts, f"Nova is at work on it ({server.task_state})")
    if server.host is None:
        return _leave(facts, "it is on no host")
    ours = server.vm_state == "error" and bool(facts.restarts)
    if server.vm_state not in ("active", "stopped") and not ours:
        return _leave(facts, f"it is {server.vm_state}, which nobody but its owner undoes")
    return None


# -- who stopped it -------------------------------------------------------------------------


def _nobody_stopped(facts: VmFacts, limits: Limits, now: float) -> Decision | None:
    """Leave a VM that somebody stopped; Nova stops one whose guest it finds off, by nobody."""
    assert facts.server is not None
    if facts.server.vm_state != "stopped":
        return None
    if facts.last_stop is None:
        return _leave(facts, "it is stopped, and Nova does not say by whom")
    if facts.last_stop.by is not None:
        return _leave(facts, f"user {facts.last_stop.by} stopped it")
    return None


# -- its host -------------------------------------------------------------------------------


def _host_well(facts: VmFacts, limits: Limits, now: float) -> Decision | None:
    assert facts.server is not None
    if facts.host_trouble:
        return _wait(facts, facts.host_trouble)
    service, host = facts.service, facts.server.host
    if service is None or not service.up or service.forced_down:
        return _wait(facts, f"nova-compute on {host} is not up")
    return None


# -- whether it is off ----------------------------------------------------------------------


def _measured_off(facts: VmFacts, limits: Limits, now: float) -> Decision | None:
    if facts.off is State.UNKNOWN:
        return _wait(facts, "its power state is not measured now")
    if facts.off is State.OK:
        return _leave(facts, "by its measured power state it is not off")
    return None


def _really_off(facts: VmFacts, limits: Limits, now: float) -> Decision | None:
    assert facts.server is not None
    if facts.runs:
        return _leave(facts, "nova-compute says that it runs")
    if facts.runs is None and facts.server.power not in RECORDED_OFF:
        return _wait(facts, "nova-compute cannot say whether it runs, and has not recorded it off")
    since = facts.off_since
    if since is None or now - since < limits.settle:
        return _wait(facts, "it is off; looking again whether it stays so")
    return None


def _not_too_often(facts: VmFacts, limits: Limits, now: float) -> Decision | None:
    assert facts.server is not None
    done = len(facts.restarts)
    if done < limits.restarts:
        return None
    minutes = limits.window / 60
    fault = f" Nova says: {facts.server.fault}." if facts.server.fault else ""
    tried = f"it was restarted {done} times within {minutes:g} min" if done else "none is allowed"
    return Decision(
        Act.GIVE_UP,
        f"{RULE}: VM {facts.server.name} ({facts.server.id}) on {facts.server.host} is off again; "
        f"{tried}, and is not restarted any more until it has run for {minutes:g} min.{fault} "
        f"Look at its console log, then start it: openstack server reboot --hard "
        f"{facts.server.id}",
    )


#: Stage -> its checks; the facts named by a stage are read just before it.
STAGES: Mapping[str, tuple[Check, ...]] = {
    "server": (_wanted, _possible),
    "stopped": (_nobody_stopped,),
    "host": (_host_well,),
    "measure": (_measured_off,),
    "hypervisor": (_really_off, _not_too_often),
}


def conclude(stage: str, facts: VmFacts, limits: Limits, now: float) -> Decision | None:
    """Return what a stage's checks say; None: nothing speaks against going on."""
    found = (check(facts, limits, now) for check in STAGES[stage])
    return next((decision for decision in found if decision is not None), None)


def restart(facts: VmFacts, limits: Limits) -> Decision:
    """Return the decision for a VM that every check has passed."""
    assert facts.server is not None
    server, number = facts.server, len(facts.restarts) + 1
    how = "Nova had stopped it by itself" if server.vm_state == "stopped" else "Nova wants it on"
    return Decision(
        Act.RESTART,
        f"VM {server.name} on {server.host} is off and {how}: restarted in place, "
        f"{number} of {limits.restarts} within {limits.window / 60:g} min",
    )
