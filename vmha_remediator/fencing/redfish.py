# SPDX-License-Identifier: Apache-2.0
"""Fencing through any Redfish BMC: ForceOff, then the power state read back until Off."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, ClassVar

import sushy
from sushy import auth as sushy_auth
from sushy import exceptions as bmc

from vmha_remediator.errors import FencingError
from vmha_remediator.fencing import settings as kinds
from vmha_remediator.fencing.contract import FenceResult, Finding, Power, Proof, unpinned
from vmha_remediator.fencing.deadline import Deadline
from vmha_remediator.fencing.poweroff import Hopeless, until_off
from vmha_remediator.fencing.redfish_http import BMC_ERRORS, connector, why
from vmha_remediator.fencing.settings import Setting

#: What is sent, as the evidence names it.
REQUEST = "ForceOff request"
#: Seconds granted for closing the session, also when the time for fencing is over.
LOGOUT = 2.0

_AUTH = {
    "auto": sushy_auth.SessionOrBasicAuth,
    "basic": sushy_auth.BasicAuth,
    "session": sushy_auth.SessionAuth,
}
#: What no repetition heals: it ends an attempt at once.
_FINAL = (
    bmc.AccessError,
    bmc.ResourceNotFoundError,
    bmc.InvalidParameterValueError,
    bmc.MissingActionError,
)


class _NoAuth(sushy_auth.AuthBase):  # type: ignore[misc]
    """For a BMC that asks for no credentials."""

    def _do_authenticate(self) -> None:
        """Send nothing."""

    def can_refresh_session(self) -> bool:
        """Return False: there is no session."""
        return False


class RedfishDriver:
    """One host's System on a Redfish BMC."""

    name: ClassVar[str] = "redfish"
    proves: ClassVar[str] = "power is off, read back from the BMC"
    SETTINGS: ClassVar[tuple[Setting, ...]] = (
        Setting("url", kinds.http_url, required=True, help="the BMC's address, https://..."),
        Setting(
            "system",
            kinds.text,
            help="the System's id or path; needed when the BMC has more than one",
        ),
        Setting("username", kinds.text, help="the BMC account that may use ComputerSystem.Reset"),
        Setting("password_file", kinds.text, help="file (mode 0600) that holds the password"),
        Setting("password_env", kinds.text, help="environment variable that holds the password"),
        Setting("auth", kinds.one_of(*_AUTH), default="auto", help="auto, session or basic"),
        Setting("verify", kinds.verify, default=True, help="true, or a CA bundle; false is risky"),
        Setting("uuid", kinds.text, help="the System's UUID; another one is never switched off"),
        Setting("call_timeout", kinds.seconds, default=5.0, help="seconds a request may take"),
    )

    def __init__(self, host: str, settings: dict[str, Any]) -> None:
        self._host = host
        self._settings = settings
        self._url: str = settings["url"]
        self._where = f"the BMC at {self._url}"
        kinds.check_login(settings)

    @property
    def target(self) -> str | None:
        """Return the BMC and the System on it."""
        return f"{self._url} {self._settings['system'] or '(its only system)'}"

    @property
    def pinned(self) -> bool:
        """Tell whether another machine at this address would be noticed."""
        return self._settings["uuid"] is not None

    def fence(self) -> FenceResult:
        """Force the power off and read Off back; raises `FencingError` when it stays on."""
        deadline = Deadline(self._settings["timeout"])
        with self._system(deadline) as system:
            self._refuse_another_machine(system)
            where = f"{self._where}, {system.path}"
            outcome = until_off(
                where,
                REQUEST,
                ask=lambda: self._force_off(system),
                read=lambda: self._read(system),
                deadline=deadline,
            )
            evidence = f"{where}: power {outcome.told(REQUEST)}"
            return FenceResult(self.name, Proof.POWER_OFF, evidence)

    def power(self) -> Power:
        """Return what the BMC reports; states on the way to or from On count as ON."""
        with self._system(Deadline(self._settings["timeout"])) as system:
            self._refuse_another_machine(system)
            return _power(system)

    def switch_on(self) -> None:
        """Ask for power; it may take a moment. Raises `FencingError`."""
        with self._system(Deadline(self._settings["timeout"])) as system:
            self._refuse_another_machine(system)
            system.reset_system(sushy.RESET_ON)

    def check(self) -> list[Finding]:
        """Log in, find the System and look for ForceOff, without changing anything."""
        with self._system(Deadline(self._settings["timeout"])) as system:
            power = _power(system)
            offered = sushy.RESET_FORCE_OFF in system.get_allowed_reset_system_values()
            return [
                Finding(True, f"logged in to {self._url} as {self._settings['username'] or '-'}"),
                self._tls_finding(),
                self._identity_finding(system),
                Finding(power is not Power.UNKNOWN, f"{system.path} reads power {power.value}"),
                Finding(offered, "ForceOff is offered" if offered else "ForceOff is not offered"),
            ]

    def _tls_finding(self) -> Finding:
        if self._url.startswith("http://"):
            return Finding(True, "plain http: whoever is on that network can read the password")
        if self._settings["verify"] is False:
            return Finding(True, "TLS certificate not verified (verify: false)")
        return Finding(True, "TLS certificate verified")

    def _identity_finding(self, system: Any) -> Finding:
        wanted = self._settings["uuid"]
        if wanted is None:
            return unpinned(self._host, system.uuid)
        same = _same_uuid(wanted, system.uuid)
        return Finding(same, f"{system.path} has UUID {system.uuid}, expected {wanted}")

    def _refuse_another_machine(self, system: Any) -> None:
        wanted = self._settings["uuid"]
        if wanted is not None and not _same_uuid(wanted, system.uuid):
            raise FencingError(
                f"{self._where} belongs to another machine: {system.path} has UUID "
                f"{system.uuid}, and {self._host} has {wanted}; it was left alone"
            )

    def _force_off(self, system: Any) -> None:
        with self._told(system):
            system.reset_system(sushy.RESET_FORCE_OFF)

    def _read(self, system: Any) -> Power:
        with self._told(system):
            system.refresh(force=True)
            return _power(system)

    @contextmanager
    def _told(self, system: Any) -> Iterator[None]:
        """Translate what one request raises, and tell what no repetition heals."""
        try:
            yield
        except _FINAL as exc:
            raise Hopeless(f"{self._where}, {system.path}: {why(exc)}") from exc
        except BMC_ERRORS as exc:
            raise FencingError(why(exc)) from exc

    @contextmanager
    def _system(self, deadline: Deadline) -> Iterator[Any]:
        """Yield the logged-in System; every BMC error leaves as a `FencingError`."""
        auth = self._auth()
        try:
            root = sushy.Sushy(
                self._url,
                auth=auth,
                connector=connector(
                    self._url,
                    verify=self._settings["verify"],
                    call_timeout=self._settings["call_timeout"],
                    deadline=deadline,
                ),
            )
            yield root.get_system(self._identity())
        except BMC_ERRORS as exc:
            raise FencingError(f"{self._where}: {why(exc)}") from exc
        finally:
            # BMCs hold few sessions at once; one left behind can lock the next login out.
            deadline.allow(LOGOUT)
            with suppress(*BMC_ERRORS):
                auth.close()

    def _auth(self) -> Any:
        settings = self._settings
        if settings["username"] is None:
            return _NoAuth()
        password = kinds.read_secret(settings["password_file"], settings["password_env"])
        return _AUTH[settings["auth"]](username=settings["username"], password=password)

    def _identity(self) -> str | None:
        system: str | None = self._settings["system"]
        if system is None or system.startswith("/"):
            return system
        return f"/redfish/v1/Systems/{system}"


def _power(system: Any) -> Power:
    if system.power_state is None:
        return Power.UNKNOWN
    return Power.OFF if system.power_state is sushy.PowerState.OFF else Power.ON


def _same_uuid(one: str, other: str | None) -> bool:
    return other is not None and one.strip().lower() == other.strip().lower()
