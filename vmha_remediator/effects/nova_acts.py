# SPDX-License-Identifier: Apache-2.0
"""What Nova is asked to do: force a service down, run a server elsewhere, put it right again."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from openstack.connection import Connection
from oslo_log import log

from vmha_remediator.effects.nova_api import MIN_VERSION, SERVICES, NovaApi, Version
from vmha_remediator.errors import CloudRefused, CloudUnavailable, OtherCell

LOG = log.getLogger(__name__)

#: From 2.95 on an evacuated server is left stopped on its destination, to be started in order.
#: Nova refuses that while one of its nova-computes is too old; then this is asked for.
EVACUATE: Version = (2, 95)
EVACUATE_RUNNING: Version = (2, 94)
#: By these words of its refusal that is known.
LEAVES_STOPPED = "microversion 2.95"
#: Nova's API, with the cell of a named host in mind, does not find the dead host in it. It answers
#: that this is an error of its own (500), before it has done anything.
NOT_IN_CELL = "ComputeHostNotFound"
#: So long nothing is left stopped after Nova has refused to, in seconds.
AS_BEFORE_FOR = 600.0

#: What a server can be asked to do, by the name in the journal: (body, microversion). From 2.87
#: on also a server that boots from a volume can be rescued.
ACTIONS: Mapping[str, tuple[Mapping[str, Any], Version]] = {
    # Not os-start: nova-compute powers the guest on before it looks whether it still should,
    # so a request left in the queue of a host that died would start the VM there when the host is
    # back, though it runs elsewhere by then. A hard reboot looks first.
    "start": ({"reboot": {"type": "HARD"}}, MIN_VERSION),
    "stop": ({"os-stop": None}, MIN_VERSION),
    "pause": ({"pause": None}, MIN_VERSION),
    "suspend": ({"suspend": None}, MIN_VERSION),
    "rescue": ({"rescue": None}, (2, 87)),
    "confirm-resize": ({"confirmResize": None}, MIN_VERSION),
}


class NovaActs(NovaApi):
    """Whatever changes something."""

    def __init__(
        self, connection: Connection, timeout: float = 10.0, cap: Version | None = None
    ) -> None:
        super().__init__(connection, timeout, cap)
        self._as_before_until = 0.0
        self._left_stopped = False

    def force_down(self, service_id: str, forced: bool) -> None:
        """Set or take back a service's force-down."""
        self._service(service_id, {"forced_down": forced})

    def enable(self, service_id: str) -> None:
        """Let the scheduler choose the service's host again."""
        self._service(service_id, {"status": "enabled"})

    def disable(self, service_id: str, reason: str) -> None:
        """Keep the scheduler from choosing the service's host."""
        self._service(service_id, {"status": "disabled", "disabled_reason": reason[:255]})

    def evacuate(self, server_id: str, dest: str | None = None) -> None:
        """Ask for a server to be run elsewhere; `dest` None lets the scheduler choose.

        A `dest` is checked by the scheduler: `force`, which 2.29 to 2.67 know, is never sent.

        A return means that Nova has accepted it, not that it is done: follow `evacuations`.
        """
        try:
            self._evacuate(server_id, {"evacuate": {"host": dest} if dest else {}})
        except CloudUnavailable as exc:
            if dest is None or NOT_IN_CELL not in str(exc):
                raise
            raise OtherCell(dest, exc) from exc

    def _evacuate(self, server_id: str, body: Mapping[str, Any]) -> None:
        if time.monotonic() < self._as_before_until:
            self._action(server_id, body, EVACUATE_RUNNING)
            return
        try:
            self._action(server_id, body, EVACUATE)
            self._left_stopped = self.highest() >= EVACUATE
        except CloudRefused as exc:
            if LEAVES_STOPPED not in str(exc):
                raise
            LOG.warning("%s; evacuated servers are left running for now", exc)
            self._as_before_until = time.monotonic() + AS_BEFORE_FOR
            self._left_stopped = False
            self._action(server_id, body, EVACUATE_RUNNING)

    def leaves_stopped(self) -> bool:
        """Tell whether Nova is known to leave what it evacuates stopped: it has done so."""
        return self._left_stopped

    def reset_state(self, server_id: str, to: str) -> None:
        """Set a server's state to "active" or "error" without touching the server."""
        self._action(server_id, {"os-resetState": {"state": to}}, MIN_VERSION)

    def act(self, server_id: str, action: str) -> None:
        """Ask for one of `ACTIONS`; a user's lock is no hindrance for an administrator."""
        body, version = ACTIONS[action]
        self._action(server_id, body, version)

    def reboot(self, server_id: str) -> None:
        """Start a server afresh on the host where it is, whatever became of its guest.

        This is what "start" asks for, too, and for the same reason.
        """
        self.act(server_id, "start")

    def _service(self, service_id: str, change: Mapping[str, Any]) -> None:
        self._json("PUT", f"/os-services/{quote(service_id)}", SERVICES, json=change)

    def _action(self, server_id: str, action: Mapping[str, Any], version: Version) -> None:
        self._json("POST", f"/servers/{quote(server_id)}/action", version, json=action)
