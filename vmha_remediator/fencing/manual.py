# SPDX-License-Identifier: Apache-2.0
"""Fencing by a person, who says that the host is off; the last resort that always exists."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from vmha_remediator.errors import FencingError, VmhaError
from vmha_remediator.fencing.contract import FenceResult, Finding, Power, Proof
from vmha_remediator.fencing.settings import Setting


class ManualDriver:
    """Looks up a person's confirmation; it switches nothing itself."""

    name: ClassVar[str] = "manual"
    proves: ClassVar[str] = "power is off, by a person's word"
    SETTINGS: ClassVar[tuple[Setting, ...]] = ()

    def __init__(self, host: str, settings: dict[str, Any]) -> None:
        self._host = host
        self._confirmed: Callable[[str], str | None] = settings["confirmed"]

    @property
    def target(self) -> str | None:
        """Return None: a person can see to any number of hosts."""
        return None

    def fence(self) -> FenceResult:
        """Return the proof that a person gave for the present incident, if one did."""
        word = self._look_up()
        if word is None:
            return FenceResult(
                self.name,
                None,
                f"nobody has confirmed that {self._host} is off; make sure of it, then run "
                f"'vmha-manage fence confirm {self._host}'",
            )
        return FenceResult(self.name, Proof.POWER_OFF, word)

    def power(self) -> Power:
        """Return UNKNOWN: a person's word is about a moment, not about now."""
        return Power.UNKNOWN

    def check(self) -> list[Finding]:
        """Return one finding, that words can be looked up. Raises `FencingError`."""
        self._look_up()
        return [
            Finding(True, f"waits for 'vmha-manage fence confirm {self._host}' when it is needed")
        ]

    def _look_up(self) -> str | None:
        try:
            return self._confirmed(self._host)
        except VmhaError as exc:
            raise FencingError(f"a person's confirmation cannot be looked up: {exc}") from exc
