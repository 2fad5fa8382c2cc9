# SPDX-License-Identifier: Apache-2.0
"""The lab's hosts as systems of a Redfish service; their power state is never remembered."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from sushy_tools import error
from sushy_tools.emulator.resources.systems.base import AbstractSystemsDriver

from tests.lab import faults, hosts, layout, redfish
from tests.lab.errors import LabError

_HANG_POLL = 0.2  # s


class BmcError(error.FishyError):
    """What a BMC says when it cannot."""

    def __init__(self, message: str, code: int = 503) -> None:
        super().__init__(message, code)


class LabSystems(AbstractSystemsDriver):
    """A system a host, known by the host's name or its uuid; /redfish/v1/Systems/h1."""

    def __init__(self) -> None:
        self._by_uuid = {redfish.machine(host): host for host in layout.HOSTS}

    @property
    def driver(self) -> str:
        """Say what is behind."""
        return "<vmha lab>"

    @property
    def systems(self) -> list[str]:
        """List the hosts by name."""
        return list(layout.HOSTS)

    def uuid(self, identity: str) -> str:
        """Return the UUID of a system."""
        host = self._host(identity)
        return next(key for key, value in self._by_uuid.items() if value == host)

    def name(self, identity: str) -> str:
        """Return the host's name."""
        return self._host(identity)

    def get_power_state(self, identity: str) -> str:
        """Return "On" or "Off", which is the truth unless the BMC is made to lie."""
        host = self._host(identity)
        if self._behave(host) == "lie":
            return "Off"
        return hosts.power_state(host).capitalize()

    def set_power_state(self, identity: str, state: str) -> None:
        """Change the power; every accepted change is in the lab's event log."""
        host = self._host(identity)
        mode = self._behave(host)
        actions = _actions()
        if state not in actions:
            raise BmcError(f"ResetType {state} is not supported", 400)
        faults.record("redfish", host, reset_type=state, mode=mode)
        if mode == "lie":
            return
        try:
            actions[state](host)
        except LabError as exc:
            raise BmcError(str(exc), 500) from exc

    def get_boot_device(self, identity: str) -> str:
        """Every host boots from its disk."""
        return "Hdd"

    def set_boot_device(self, identity: str, boot_source: str) -> None:
        """Refuse: there is nothing else to boot from."""
        raise BmcError("the boot device cannot be changed", 400)

    def _host(self, identity: str) -> str:
        host = self._by_uuid.get(identity, identity)
        if host not in layout.HOSTS:
            raise error.NotFound(f"System {identity} was not found")
        return host

    def _behave(self, host: str) -> str:
        """Fail in the way that was asked for; return the mode in which to go on."""
        mode = redfish.modes().get(host, "ok")
        if mode == "refuse":
            raise BmcError(f"the BMC of {host} refuses")
        if mode == "hang":
            while redfish.modes().get(host) == "hang":
                time.sleep(_HANG_POLL)
            raise BmcError(f"the BMC of {host} was hung")  # whoever asked has gone long since
        return mode


def _off(host: str) -> None:
    hosts.kill(host, why="redfish-off")


def _restart(host: str) -> None:
    _off(host)
    _on(host)


def _on(host: str) -> None:
    """Boot in the background, as a machine does: the BMC answers at once."""
    threading.Thread(target=hosts.boot_host, args=(host,), name=f"boot-{host}").start()


def _actions() -> dict[str, Callable[[str], None]]:
    return {
        "On": _on,
        "ForceOn": _on,
        "ForceOff": _off,
        "GracefulShutdown": hosts.shutdown,
        "GracefulRestart": _restart,
        "ForceRestart": _restart,
        "PowerCycle": _restart,
    }
