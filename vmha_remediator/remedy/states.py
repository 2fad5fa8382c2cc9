# SPDX-License-Identifier: Apache-2.0
"""The states of an incident and every move between them, as data."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from vmha_remediator.errors import IllegalTransition


class IncidentState(StrEnum):
    """Where an incident stands; the values are what the database and people see."""

    DETECTED = "detected"
    CONFIRMED = "confirmed"
    FENCING = "fencing"
    FENCED = "fenced"
    EVACUATING = "evacuating"
    RECOVERED = "recovered"
    READMITTED = "readmitted"
    REPORTED = "reported"
    HELD = "held"
    CLEARED = "cleared"


_S = IncidentState

#: state -> states that may follow. What is absent is illegal. Once fencing has begun, no healthy
#: reading leads back to cleared: the host may be off already, whatever the readings say. Only a
#: person's release gets out of there. A fenced host that lives again and fails again is detected
#: anew: its old proof is worth nothing. One that then lives before it is fenced is recovered: it
#: is taken back with our force-down and with the VMs that were not moved.
TRANSITIONS: Mapping[IncidentState, frozenset[IncidentState]] = {
    _S.DETECTED: frozenset({_S.CONFIRMED, _S.CLEARED, _S.RECOVERED, _S.HELD}),
    _S.CONFIRMED: frozenset({_S.FENCING, _S.CLEARED, _S.RECOVERED, _S.HELD}),
    _S.FENCING: frozenset({_S.FENCED, _S.HELD}),
    _S.FENCED: frozenset({_S.EVACUATING, _S.DETECTED, _S.HELD}),
    _S.EVACUATING: frozenset({_S.RECOVERED, _S.DETECTED, _S.HELD}),
    _S.RECOVERED: frozenset({_S.READMITTED, _S.DETECTED, _S.CLEARED, _S.HELD}),
    _S.HELD: frozenset(
        {_S.DETECTED, _S.FENCING, _S.FENCED, _S.EVACUATING, _S.RECOVERED, _S.CLEARED}
    ),
    _S.REPORTED: frozenset({_S.CLEARED}),
    _S.CLEARED: frozenset(),
    _S.READMITTED: frozenset(),
}

#: An incident in one of these is over; its host may get a new one.
FINAL = frozenset(state for state, following in TRANSITIONS.items() if not following)

#: How an incident begins, by the action of its rule.
FIRST: Mapping[str, IncidentState] = {"recover": _S.DETECTED, "report": _S.REPORTED}


def check(current: IncidentState, to: IncidentState) -> None:
    """Raise `IllegalTransition` unless `current` may be followed by `to`."""
    if to not in TRANSITIONS[current]:
        allowed = ", ".join(sorted(TRANSITIONS[current])) or "nothing, it is over"
        raise IllegalTransition(
            f"an incident that is {current} cannot become {to}; it can become: {allowed}"
        )
