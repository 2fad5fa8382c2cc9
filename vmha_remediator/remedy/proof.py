# SPDX-License-Identifier: Apache-2.0
"""The one law, in one place: when a proof that a host is off may be built upon."""

from __future__ import annotations

from vmha_remediator.remedy import guards, pieces
from vmha_remediator.remedy.facts import Facts
from vmha_remediator.remedy.incident import SERVICE_WRITES, Incident, ProofRecord, VmStatus
from vmha_remediator.remedy.policy import Policy
from vmha_remediator.remedy.states import IncidentState as S
from vmha_remediator.remedy.steps import Hold, Move, Note, Plan, Step
from vmha_remediator.rules.judge import State

#: States that rest on a proof.
PROVEN_STATES = frozenset({S.FENCED, S.EVACUATING, S.RECOVERED})


def wants_power(incident: Incident, facts: Facts, now: float, policy: Policy) -> bool:
    """Tell whether a plan may need the host's power state, which takes a while to read."""
    if incident.state is S.FENCING:
        return facts.heard
    if incident.proof is None or incident.state not in PROVEN_STATES:
        return False
    if facts.heard:
        return incident.state is not S.RECOVERED
    gone = facts.cluster.fenced if facts.cluster is not None else frozenset[str]()
    due = incident.state is S.FENCED or any(
        (vm.status is VmStatus.MOVING and vm.dest in gone)  # it is to be moved once more
        or (
            vm.status in (VmStatus.WAITING, VmStatus.PENDING, VmStatus.REQUESTED)
            and policy.due(vm.not_before, now)
        )
        for vm in incident.vms
    )
    return incident.heard_since is not None or (due and not _is_young(incident.proof, now, policy))


def no_proof(incident: Incident, evidence: str) -> Hold:
    """Return the hold for a host that could not be proven off."""
    host = incident.host
    return Hold(
        pieces.NO_PROOF,
        f"{host} could not be proven off, so none of its VMs was touched: {evidence}",
        f"switch {host} off by hand, then: vmha-manage fence confirm {host}; or repair fencing, "
        f"then: {guards.release_command(incident)}",
    )


def given_up(incident: Incident, evidence: str) -> Hold:
    """Return the hold for a host that was heard again while it was being fenced.

    It is held for want of a proof all the same: should it fail again it is fenced again.
    """
    host = incident.host
    return Hold(
        pieces.NO_PROOF,
        f"{host} was heard again while it was being fenced, so that was given up and none of its "
        f"VMs was moved: {evidence}",
        f"look at {host}; if it is well, this closes the incident, else it is fenced again: "
        f"{guards.release_command(incident)}",
    )


def may_not_start(incident: Incident, facts: Facts, now: float, policy: Policy) -> str:
    """Return why no evacuation may begin now, or nothing: the one law, in one place."""
    proof = incident.proof
    if proof is None or not incident.proven_off:
        return "there is no proof that the host is off"
    if facts.heard:
        return "the host is heard although it was off"
    if facts.power == "on":
        return "the host is switched on again and may run it"
    if incident.heard_since is not None and facts.power != "off":
        return "the host was heard after it had been proven off"
    if incident.powered_since is not None and facts.power != "off":
        return "the host was seen switched on after it had been proven off"
    if _is_young(proof, now, policy) or facts.power == "off":
        return ""
    if facts.state_of(incident.rule) is State.ALARM:
        return _sign_of_compute(incident, facts, now, policy)
    return "the proof is old, and neither power nor measures can be read now"


def _is_young(proof: ProofRecord, now: float, policy: Policy) -> bool:
    """Tell whether a proof needs no second look; of one from the future nobody knows its age."""
    return 0 <= now - proof.time <= policy.proof_age


def _sign_of_compute(incident: Incident, facts: Facts, now: float, policy: Policy) -> str:
    """Return that its nova-compute reports although the host is not heard, or nothing.

    A host that its watchdog has reset boots. Where its agent does not come up, and RabbitMQ is on
    another network, its nova-compute works and may resume the guests that are still its own.
    """
    proven = incident.proof.time if incident.proof else 0.0
    since = max(proven, incident.last_step(SERVICE_WRITES)) + policy.contradiction_tolerance
    updated = facts.service.updated_at if facts.service else None
    if updated is None or updated <= since or not 0 <= now - updated < policy.compute_silent:
        return ""  # none, or not lately; one from the future tells of clocks only
    return "its nova-compute has reported since the host was proven off"


def proof_is_void(incident: Incident, facts: Facts) -> bool:
    """Tell whether the host has lived since it was proven off, and has failed again.

    Without a proof it has lived: its last one was taken away for that.
    """
    taken = incident.proof is None
    lived = taken or incident.heard_since is not None or facts.power == "on"
    failed = facts.state_of(incident.rule) is State.ALARM
    return lived and failed and not facts.heard and facts.power != "off"


def contradicted(incident: Incident, facts: Facts, now: float) -> Plan:
    """Hold a host that lives although it was proven off, and take its proof away."""
    host, given = incident.host, incident.proof
    driver, evidence = (given.driver, given.evidence) if given else ("nobody", "no proof")
    hold = Hold(
        pieces.STILL_ALIVE,
        f"{driver} proved {host} off ({evidence}), yet {_sign_of_life(facts)}, and it is heard "
        f"since {heard_for(incident, now):.0f} s; power: {facts.power or 'not known'}; the proof "
        "is void",
        f"find out why {driver} says off while {host} lives: it may switch another machine (see "
        f"'vmha-manage fence test {host}'); to fence {host} again: "
        f"{guards.release_command(incident)}",
        {"proof": None},
    )
    return Plan((hold,), f"{host}: held, {hold.reason}")


def _sign_of_life(facts: Facts) -> str:
    """Return what contradicts the proof, the lease first: storage has no echo."""
    if facts.lease_age is not None and facts.lease_age < facts.fresh_lease:
        return f"its lease was renewed {facts.lease_age:.1f} s ago"
    age = "a moment" if facts.heartbeat_age is None else f"{facts.heartbeat_age:.1f} s"
    return f"it was heard {age} ago"


def anew(incident: Incident) -> Plan:
    sentence = (
        f"{incident.host} has lived since it was proven off and has failed again: it is judged "
        f"and fenced anew"
    )
    fields = {**pieces.FRESH, "proof": None, "fencing_since": None}
    return Plan((Move(S.DETECTED, sentence, fields),), sentence)


def not_heard(incident: Incident) -> tuple[Step, ...]:
    """Forget that it seemed to live; asked only once its power is known to be off."""
    if incident.heard_since is None and incident.powered_since is None:
        return ()
    return (Note({"heard_since": None, "powered_since": None}),)


def booting(incident: Incident, facts: Facts, now: float, policy: Policy) -> Plan | None:
    """Let a host that was switched on again boot; None: it is not booting, or for too long.

    Nothing is started elsewhere meanwhile. Only a host whose VMs have all been dealt with is
    given that time: while VMs can be moved, switching it off again brings them back sooner.
    """
    if incident.heard_since is not None or facts.power != "on":
        return None
    powered_for = pieces.lasted(incident.powered_since, now)
    left = policy.boot_grace - (powered_for or 0.0)
    if left <= 0:
        return None
    note = (Note({"powered_since": now}),) if powered_for is None else ()
    sentence = f"{incident.host}: is switched on again and not heard yet; it is let boot"
    return Plan(note, sentence)


def heard_for(incident: Incident, now: float) -> float:
    return 0.0 if incident.heard_since is None else now - incident.heard_since
