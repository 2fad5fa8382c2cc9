# SPDX-License-Identifier: Apache-2.0
"""Drivers that do as they are told, in place of the installed ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from oslo_config import cfg

from vmha_remediator import conf as config
from vmha_remediator.errors import FencingError
from vmha_remediator.fencing import inventory
from vmha_remediator.fencing.contract import FenceResult, Finding, Power, Proof
from vmha_remediator.fencing.fencer import Fencer
from vmha_remediator.fencing.manual import ManualDriver
from vmha_remediator.fencing.redfish import RedfishDriver
from vmha_remediator.fencing.settings import Setting, text

#: What the drivers of a test were asked to do, in order: (host, driver's outlet).
Log = list[tuple[str, str]]


class OutletDriver:
    """A power outlet for tests: `does` tells what happens when it is asked to switch off."""

    name: ClassVar[str] = "outlet"
    proves: ClassVar[str] = "its outlet is off"
    SETTINGS: ClassVar[tuple[Setting, ...]] = (
        Setting("outlet", text, required=True, help="its number"),
        Setting("does", text, default="works"),
    )
    asked: ClassVar[Log] = []
    behaviour: ClassVar[dict[str, Callable[[], object]]] = {}

    def __init__(self, host: str, settings: dict[str, Any]) -> None:
        self._host, self._outlet, self._does = host, settings["outlet"], settings["does"]

    @property
    def target(self) -> str | None:
        return f"outlet {self._outlet}"

    def _act(self) -> None:
        self.behaviour.get(self._does, lambda: None)()
        if self._does == "fails":
            raise FencingError(f"outlet {self._outlet} burnt out")

    def fence(self) -> FenceResult:
        self.asked.append((self._host, self._outlet))
        self._act()
        return FenceResult(self.name, Proof.POWER_OFF, f"outlet {self._outlet} is off")

    def switch_on(self) -> None:
        self.asked.append((self._host, f"{self._outlet} on"))

    def power(self) -> Power:
        self._act()
        return {"dark": Power.OFF, "unsure": Power.UNKNOWN}.get(self._does, Power.ON)

    def check(self) -> list[Finding]:
        self._act()
        return [Finding(True, f"outlet {self._outlet} is there")]


@pytest.fixture(autouse=True)
def outlets(monkeypatch: pytest.MonkeyPatch) -> Log:
    classes = {"outlet": OutletDriver, "manual": ManualDriver, "redfish": RedfishDriver}
    monkeypatch.setattr(inventory, "driver_classes", lambda: classes)
    monkeypatch.setattr(OutletDriver, "asked", [])
    monkeypatch.setattr(OutletDriver, "behaviour", {})
    return OutletDriver.asked


class Desk:
    """Writes hosts files and makes fencers that read them."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "fencing.yaml"
        self.conf: cfg.ConfigOpts = config.load(config_files=[])
        self.conf.set_override("hosts_file", str(self.file), group="fencing")
        self.words: dict[str, str] = {}

    def write(self, text: str) -> None:
        self.file.write_text(text)

    def fencer(self, text: str | None = None) -> Fencer:
        if text is not None:
            self.write(text)
        return Fencer(self.conf, self.words.get)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)
