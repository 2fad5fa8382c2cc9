# SPDX-License-Identifier: Apache-2.0
"""Fencing through Ironic, which has the BMC's credentials and speaks its protocol.

Ironic keeps the power state in its database and reads a BMC about once a minute. Only a request
makes it look at once, even when it believes that the node is off already. So `fence` always asks,
and believes what is stored only when that request is no longer under way; and `power` never says
off: nobody knows how old that word is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from vmha_remediator.errors import FencingError
from vmha_remediator.fencing import settings as kinds
from vmha_remediator.fencing.contract import FenceResult, Finding, Power, Proof
from vmha_remediator.fencing.deadline import Deadline
from vmha_remediator.fencing.ironic_api import Api, connect
from vmha_remediator.fencing.poweroff import Hopeless, until_off
from vmha_remediator.fencing.settings import Setting, SettingError

#: What is sent, as the evidence names it.
REQUEST = "power-off request"
POWER_OFF, POWER_ON = "power off", "power on"


@dataclass(frozen=True)
class Node:
    """What Ironic says of a node that matters here."""

    uuid: str
    power: str | None
    target: str | None  # set while a request is under way
    error: str | None
    maintenance: bool
    reservation: str | None

    @classmethod
    def of(cls, body: dict[str, Any]) -> Node:
        """Return it from the API's JSON; raises `LookupError` when that has no such fields."""
        return cls(
            str(body["uuid"]),
            body["power_state"],
            body["target_power_state"],
            body["last_error"],
            bool(body["maintenance"]),
            body["reservation"],
        )


class IronicDriver:
    """One host's node in Ironic."""

    name: ClassVar[str] = "ironic"
    proves: ClassVar[str] = "power is off, read from the BMC by Ironic"
    SETTINGS: ClassVar[tuple[Setting, ...]] = (
        Setting("cloud", kinds.text, help="name of the cloud in clouds.yaml, with credentials"),
        Setting("clouds_file", kinds.secret_file, help="a clouds.yaml (mode 0600) of its own"),
        Setting("endpoint", kinds.url_with_path, help="a standalone Ironic, instead of 'cloud'"),
        Setting("username", kinds.text, help="for a standalone Ironic that wants HTTP basic"),
        Setting("password_file", kinds.text, help="file (mode 0600) that holds its password"),
        Setting("password_env", kinds.text, help="environment variable that holds its password"),
        Setting("verify", kinds.verify, default=True, help="true, or a CA bundle; false is risky"),
        Setting("node", kinds.text, help="name or UUID of the node; unset: the host's name"),
        Setting("call_timeout", kinds.seconds, default=5.0, help="seconds a request may take"),
    )

    def __init__(self, host: str, settings: dict[str, Any]) -> None:
        self._host = host
        self._settings = settings
        self._node: str = settings["node"] or host
        self._where = f"Ironic, node {self._node}"
        if (settings["cloud"] is None) == (settings["endpoint"] is None):
            raise SettingError("cloud", "give it, or endpoint, and not both")
        kinds.check_login(settings)

    @property
    def target(self) -> str | None:
        """Return the node in its Ironic."""
        return f"ironic://{self._settings['cloud'] or self._settings['endpoint']}/{self._node}"

    def fence(self) -> FenceResult:
        """Ask Ironic for power off and wait until it has read it; raises `FencingError`."""
        deadline = Deadline(self._settings["timeout"])
        asked = _Asked()
        with connect(self._settings, self._where, deadline) as api:
            outcome = until_off(
                self._where,
                REQUEST,
                ask=lambda: asked.power_off(api, self._node),
                read=lambda: asked.read(self._read(api)),
                deadline=deadline,
            )
        evidence = f"{self._where}: power {outcome.told(REQUEST)}"
        return FenceResult(self.name, Proof.POWER_OFF, evidence)

    def power(self) -> Power:
        """Return ON where Ironic saw it on, and UNKNOWN otherwise: its off may be a minute old."""
        with connect(self._settings, self._where, Deadline(self._settings["timeout"])) as api:
            node = self._read(api)
        return Power.ON if node.power == POWER_ON else Power.UNKNOWN

    def switch_on(self) -> None:
        """Ask Ironic for power on; it takes a moment. Raises `FencingError`."""
        with connect(self._settings, self._where, Deadline(self._settings["timeout"])) as api:
            api.put(f"/nodes/{self._node}/states/power", {"target": POWER_ON})

    def check(self) -> list[Finding]:
        """Log in, find the node, and let Ironic validate its power interface."""
        with connect(self._settings, self._where, Deadline(self._settings["timeout"])) as api:
            node = self._read(api)
            power = api.get(f"/nodes/{node.uuid}/validate").get("power") or {}
        able = power.get("result") is True
        reason = "" if able else f": {power.get('reason') or 'no reason given'}"
        return [
            Finding(True, f"found {self._where}, UUID {node.uuid}"),
            Finding(able, f"Ironic {'can' if able else 'cannot'} switch its power{reason}"),
            Finding(True, f"Ironic saw it last as {node.power or 'unknown'}, up to minutes ago"),
            Finding(node.reservation is None, _held_by(node)),
        ]

    def _read(self, api: Api) -> Node:
        try:
            return Node.of(api.get(f"/nodes/{self._node}"))
        except LookupError as exc:
            raise Hopeless(f"{self._where}: the answer has no {exc}; is it Ironic?") from exc


class _Asked:
    """What may be concluded from a node depends on what was asked of it before."""

    def __init__(self) -> None:
        self._accepted = False
        self._under_way = False

    def power_off(self, api: Api, node: str) -> bool:
        """Ask, unless Ironic still works on it; it answers 202 before it has done anything."""
        if self._accepted and self._under_way:
            return False
        self._accepted = False
        api.put(f"/nodes/{node}/states/power", {"target": POWER_OFF})
        self._accepted = True
        return True

    def read(self, node: Node) -> Power:
        """Return OFF only for what Ironic has read since it was asked."""
        self._under_way = node.target is not None or node.reservation is not None
        if self._accepted and not self._under_way:
            if node.error:
                raise FencingError(f"Ironic says: {' '.join(node.error.split())[:300]}")
            if node.power == POWER_OFF:
                return Power.OFF
        return Power.ON if node.power == POWER_ON else Power.UNKNOWN


def _held_by(node: Node) -> str:
    if node.reservation is not None:
        return f"conductor {node.reservation} works on it now; power cannot be switched meanwhile"
    return "in maintenance, which hinders no power-off" if node.maintenance else "not reserved"
