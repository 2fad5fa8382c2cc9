# SPDX-License-Identifier: Apache-2.0
"""Ceilometer's view of the lab's guests: their power state, in libvirt's numbers.

Pollster, discovery and pipeline are Ceilometer's own.
"""

from __future__ import annotations

from typing import Any

from ceilometer.compute.virt import inspector

from tests.lab.virt.hypervisor import Power, ProcessHypervisor

_RUNNING, _PAUSED, _SHUTOFF = 1, 3, 5  # virDomainState
#: A VM that Nova suspends is saved, and shut off for libvirt.
_STATES = {
    Power.RUNNING: _RUNNING,
    Power.PAUSED: _PAUSED,
    Power.SUSPENDED: _SHUTOFF,
    Power.OFF: _SHUTOFF,
}


class LabInspector(inspector.Inspector):
    """Knows the guests of one host."""

    def __init__(self, conf: Any) -> None:
        super().__init__(conf)
        self._guests = ProcessHypervisor(conf.host)

    def inspect_instance(self, instance: Any, duration: float | None = None) -> Any:
        """Return the power state of one guest; the rest is not measured."""
        try:
            state = _STATES[self._guests.state(instance.id)]
        except KeyError as exc:
            raise inspector.InstanceNotFoundException(str(exc)) from exc
        return inspector.InstanceStats(power_state=state)
