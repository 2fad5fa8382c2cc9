# SPDX-License-Identifier: Apache-2.0
"""The product's controller side: its setup commands, the BMC emulator, the remediator."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.lab import config, layout, process, redfish
from tests.lab.services import base
from tests.lab.services.base import Service, http_ready
from tests.lab.services.databases import run_tool


def manage(*words: str) -> str:
    """Run vmha-manage with the lab's configuration; return what it printed."""
    return run_tool(
        [str(layout.VENV_BIN / "vmha-manage"), f"--config-file={config.vmha_config()}", *words]
    )


def telemetry_setup() -> str:
    """Make the archive policy and the resource type in Gnocchi."""
    return _last_line(manage("telemetry", "setup"))


def alarms_sync() -> str:
    """Make every host's alarms in Aodh."""
    hosts = [word for host in layout.HOSTS for word in ("--host", host)]
    return _last_line(manage("alarms", "sync", *hosts))


def _prepare_remediator() -> None:
    (layout.STATE / "vmha/coordination").mkdir(parents=True, exist_ok=True)
    if not config.vmha_database().exists():  # one that is there it brings up to date itself
        manage("db", "upgrade")


def _stands_by() -> bool:
    """Return whether the second engine has found that it does not lead."""
    found = process.find(SECOND.name)
    return found is not None and "standing by" in base.tail(Path(found.log))


def _config_words() -> list[str]:
    return [f"--config-file={path}" for path in config.vmha_config_files()]


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[-1]


SERVICES = (
    Service(
        name=redfish.NAME,
        argv=lambda: [sys.executable, "-m", "tests.lab.redfish.emulator"],
        ready=http_ready("redfish", "/redfish/v1/"),
        ports=("redfish",),
    ),
    Service(
        name="remediator",
        argv=lambda: [layout.VENV_BIN / "vmha-remediator", *_config_words()],
        ready=http_ready("vmha", "/healthcheck"),
        needs=("keystone", "nova", "gnocchi", "aodh"),
        ports=("vmha",),
        prepare=_prepare_remediator,
    ),
)

#: Another engine on the same database; of use where [engine] coordination_url is a service.
SECOND = Service(
    name="engine-2",
    argv=lambda: [layout.VENV_BIN / "vmha-engine", *_config_words()],
    ready=_stands_by,
    needs=("remediator", "redis"),
)
