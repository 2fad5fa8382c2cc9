# SPDX-License-Identifier: Apache-2.0
"""Fencing through any Redfish BMC: ForceOff, then the power state read back until Off."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, ClassVar

import sushy
from sushy import auth as sushy_auth
from sushy import exceptions as bmc

from vmha_remediator.errors import FencingError
from vmha_remediator.fencing import settings as kinds
from vmha_remediator.fencing.contract import FenceResult, Finding, Power, Proof
from vmha_remediator.fencing.redfish_http import BMC_ERRORS, Deadline, connector, why
from vmha_remediator.fencing.settings import Setting, SettingError

#: Seconds between two readings of the power state. A ForceOff shows within a second on
#: common BMCs; a reading costs the BMC one small GET.
POLL = 0.3
#: Seconds after which ForceOff is sent again while the system still reads On: some BMCs
#: accept a request during their own start-up and forget it.
RESEND = 5.0
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
        file, variable = settings["password_file"], settings["password_env"]
        if settings["username"] is None:
            if file or variable:
                raise SettingError("username", "missing, although a password is given")
        elif (file is None) == (variable is None):
            raise SettingError("password_file", "give it, or password_env, and not both")
        if file is not None:
            try:
                kinds.check_secret_file(file)
            except ValueError as exc:
                raise SettingError("password_file", str(exc)) from exc

    @property
    def target(self) -> str | None:
        """Return the BMC and the System on it."""
        return f"{self._url} {self._settings['system'] or '(its only system)'}"

    def fence(self) -> FenceResult:
        """Force the power off and read Off back; raises `FencingError` when it stays on."""
        deadline = Deadline(self._settings["timeout"])
        with self._system(deadline) as system:
            self._refuse_another_machine(system)
            if _power(system) is Power.OFF:
                return self._proven(system, "was already Off")
            asked = self._force_off(system, deadline)
            took = f"{deadline.elapsed:.1f} s"
            return self._proven(system, f"read Off {took} after {asked} ForceOff request(s)")

    def power(self) -> Power:
        """Return what the BMC reports; states on the way to or from On count as ON."""
        with self._system(Deadline(self._settings["timeout"])) as system:
            self._refuse_another_machine(system)
            return _power(system)

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
            return Finding(
                True, f"found {system.path} with UUID {system.uuid}; 'uuid' would pin it"
            )
        same = _same_uuid(wanted, system.uuid)
        return Finding(same, f"{system.path} has UUID {system.uuid}, expected {wanted}")

    def _refuse_another_machine(self, system: Any) -> None:
        wanted = self._settings["uuid"]
        if wanted is not None and not _same_uuid(wanted, system.uuid):
            raise FencingError(
                f"{self._where} belongs to another machine: {system.path} has UUID "
                f"{system.uuid}, and {self._host} has {wanted}; it was left alone"
            )

    def _force_off(self, system: Any, deadline: Deadline) -> int:
        """Ask for ForceOff until Off is read; return how often, or raise `FencingError`."""
        asked, ask_at, read, trouble = 0, 0.0, "", ""
        while True:
            try:
                if deadline.elapsed >= ask_at:
                    ask_at = deadline.elapsed + RESEND
                    asked += 1
                    system.reset_system(sushy.RESET_FORCE_OFF)
                system.refresh(force=True)
                if _power(system) is Power.OFF:
                    return asked
                read, trouble = f"it still reads {_power(system).value}", ""
            except _FINAL:
                raise
            except BMC_ERRORS as exc:
                # A request that failed may have worked: only the power state tells.
                trouble = why(exc)
            if deadline.left <= POLL:
                said = ", then ".join(part for part in (read, trouble) if part)
                raise FencingError(
                    f"{self._where}, {system.path}: {said}; given up after {asked} ForceOff "
                    f"request(s) and {deadline.elapsed:.1f} s"
                )
            time.sleep(POLL)

    def _proven(self, system: Any, how: str) -> FenceResult:
        return FenceResult(
            self.name, Proof.POWER_OFF, f"{self._where}, {system.path}: power {how}"
        )

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
