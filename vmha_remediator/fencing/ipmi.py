# SPDX-License-Identifier: Apache-2.0
"""Fencing through IPMI 2.0 over LAN: chassis power down, then the state read back until off."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from vmha_remediator.errors import FencingError
from vmha_remediator.fencing import settings as kinds
from vmha_remediator.fencing.contract import FenceResult, Finding, Power, Proof, unpinned
from vmha_remediator.fencing.deadline import Deadline
from vmha_remediator.fencing.ipmi_session import IpmiSession, logged_in
from vmha_remediator.fencing.poweroff import Hopeless, until_off
from vmha_remediator.fencing.settings import Setting, SettingError

#: What is sent, as the evidence names it.
REQUEST = "power-down request"
PRIVILEGES = {"operator": 3, "administrator": 4}


class IpmiDriver:
    """One host's BMC, spoken to with RMCP+ (IPMI 2.0); IPMI 1.5 sends passwords too weakly."""

    name: ClassVar[str] = "ipmi"
    proves: ClassVar[str] = "power is off, read back from the BMC"
    SETTINGS: ClassVar[tuple[Setting, ...]] = (
        Setting("address", kinds.host, required=True, help="the BMC's name or address"),
        Setting("port", kinds.port, default=623, help="its UDP port"),
        Setting("username", kinds.text, required=True, help="an account with operator privilege"),
        Setting("password_file", kinds.text, help="file (mode 0600) that holds the password"),
        Setting("password_env", kinds.text, help="environment variable that holds the password"),
        Setting("kg_file", kinds.text, help="file (mode 0600) with the BMC key, where one is set"),
        Setting(
            "privilege",
            kinds.one_of(*PRIVILEGES),
            help="operator or administrator; unset: the most that the account has",
        ),
        Setting("uuid", kinds.uuid, help="the system's GUID; another is never switched off"),
        Setting("call_timeout", kinds.seconds, default=8.0, help="seconds a command may take"),
    )

    def __init__(self, host: str, settings: dict[str, Any]) -> None:
        self._host = host
        self._settings = settings
        self._where = f"the BMC at {settings['address']}:{settings['port']}"
        kinds.check_password(settings)
        if settings["kg_file"] is not None:
            try:
                kinds.check_secret_file(settings["kg_file"])
            except ValueError as exc:
                raise SettingError("kg_file", str(exc)) from exc

    @property
    def target(self) -> str | None:
        """Return the BMC: it has one chassis."""
        return f"ipmi://{self._settings['address']}:{self._settings['port']}"

    @property
    def pinned(self) -> bool:
        """Tell whether another machine at this address would be noticed."""
        return self._settings["uuid"] is not None

    def fence(self) -> FenceResult:
        """Power the chassis down and read off back; raises `FencingError` when it stays on."""
        deadline = Deadline(self._settings["timeout"])
        with self._session(deadline) as session:
            self._refuse_another_machine(session)
            outcome = until_off(
                self._where,
                REQUEST,
                ask=lambda: session.ask("off"),
                read=lambda: Power(session.ask("power")),
                deadline=deadline,
            )
        evidence = f"{self._where}: power {outcome.told(REQUEST)}"
        return FenceResult(self.name, Proof.POWER_OFF, evidence)

    def power(self) -> Power:
        """Return what the BMC reports."""
        with self._session(Deadline(self._settings["timeout"])) as session:
            self._refuse_another_machine(session)
            return Power(session.ask("power"))

    def switch_on(self) -> None:
        """Power the chassis up; it may take a moment. Raises `FencingError`."""
        with self._session(Deadline(self._settings["timeout"])) as session:
            self._refuse_another_machine(session)
            session.ask("on")

    def check(self) -> list[Finding]:
        """Log in and read GUID and power state, without changing anything."""
        with self._session(Deadline(self._settings["timeout"])) as session:
            power = Power(session.ask("power"))
            return [
                Finding(True, f"logged in to {self._where} as {self._settings['username']}"),
                self._identity_finding(session),
                Finding(True, f"reads power {power.value}"),
            ]

    def _identity_finding(self, session: IpmiSession) -> Finding:
        wanted = self._settings["uuid"]
        try:
            given = session.ask("guid")
        except FencingError as exc:
            return Finding(wanted is None, f"its GUID cannot be read: {exc}")
        shown = _as_smbios(given)
        if wanted is None:
            return unpinned(self._host, shown)
        return Finding(_same(wanted, given), f"its GUID is {shown}, expected {wanted}")

    def _refuse_another_machine(self, session: IpmiSession) -> None:
        wanted = self._settings["uuid"]
        if wanted is None:
            return
        given = session.ask("guid")
        if not _same(wanted, given):
            raise Hopeless(
                f"it belongs to another machine: its GUID is {_as_smbios(given)}, and "
                f"{self._host} has {wanted}; it was left alone"
            )

    @contextmanager
    def _session(self, deadline: Deadline) -> Iterator[IpmiSession]:
        """Yield a session; every error names the BMC, and none holds a secret."""
        settings = self._settings
        password = kinds.read_secret(settings["password_file"], settings["password_env"])
        login = {
            "bmc": settings["address"],
            "port": settings["port"],
            "userid": settings["username"],
            "password": password,
            "kg": kinds.read_secret(settings["kg_file"], None) if settings["kg_file"] else None,
            "privlevel": PRIVILEGES.get(settings["privilege"]),
        }
        try:
            with logged_in(
                login,
                call_timeout=settings["call_timeout"],
                deadline=deadline,
                hide=settings["password_env"],
            ) as session:
                yield session
        except FencingError as exc:
            said = str(exc).replace(password, "***")
            prefix = "" if said.startswith(self._where) else f"{self._where}: "
            raise type(exc)(f"{prefix}{said}") from None


def _as_smbios(given: str) -> str:
    """Return the GUID as dmidecode shows it; the specification sends it little-endian."""
    return str(uuid.UUID(bytes_le=bytes.fromhex(given)))


def _same(wanted: str, given: str) -> bool:
    """Tell whether it is the machine: BMCs differ in the order of the GUID's bytes."""
    raw = bytes.fromhex(given)
    return wanted in (str(uuid.UUID(bytes=raw)), str(uuid.UUID(bytes_le=raw)))
