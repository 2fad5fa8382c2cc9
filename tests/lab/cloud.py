# SPDX-License-Identifier: Apache-2.0
"""How the control plane comes up: the tasks, and what needs what."""

from __future__ import annotations

from collections.abc import Callable

from tests.lab import config, credentials, hosts, layout, net, redfish, seed
from tests.lab.services import CLOUD, base, databases, find, infra, vmha
from tests.lab.tasks import Task

FOLDERS = (layout.LOGS, layout.RUN, layout.ETC, layout.STATE, layout.STORAGE)

_FILES = "bridge and files"
_SCHEMAS = "schemas"
_USERS = "users and catalogue"
_INFRA = {service.name for service in infra.SERVICES}


def tasks() -> list[Task]:
    """Return everything that brings the control plane up; each task is idempotent."""
    chains = {f"{name} schema": name for name in databases.SYNCS}
    own = [
        Task(_FILES, _prepare),
        Task("mariadb", _start_database, (_FILES,)),
        *[Task(task, _migrator(name), ("mariadb",)) for task, name in chains.items()],
        Task(_SCHEMAS, _keep_schemas, tuple(chains)),
        Task("keystone bootstrap", seed.bootstrap, (_SCHEMAS,)),
        Task("keystone", _starter("keystone"), (_SCHEMAS,)),
        Task(_USERS, seed.identity, ("keystone", "keystone bootstrap")),
        Task("image", seed.image, ("glance",)),
        Task("flavors", seed.flavors, ("nova",)),
    ]
    known = {task.name for task in own}
    return own + [
        Task(s.name, _starter(s.name), (*s.needs, _FILES if s.name in _INFRA else _USERS))
        for s in CLOUD
        if s.name not in known
    ]


def beyond() -> list[Task]:
    """Return what comes on top of the control plane: BMCs, hosts, alarms, the remediator."""
    everything = tuple(service.name for service in CLOUD)
    return [
        Task("redfish", _redfish, (_FILES,)),
        Task("telemetry setup", vmha.telemetry_setup, ("gnocchi", "gnocchi-metricd")),
        Task("hosts", _hosts, (*everything, "telemetry setup", "flavors", "image")),
        Task("remediator", _starter("remediator"), ("nova", "aodh", "telemetry setup", "redfish")),
        Task("alarms", vmha.alarms_sync, ("hosts", "remediator")),
    ]


def discover_hosts() -> None:
    """Have Nova map compute hosts that it has not seen yet to their cell."""
    databases.run_tool([*databases.NOVA_MANAGE, "cell_v2", "discover_hosts"], timeout=60)


def _redfish() -> str:
    redfish.up()
    return base.start(find("redfish"))


def _hosts() -> str:
    hosts.up_all(lambda _: None)
    return ", ".join(layout.HOSTS)


def _prepare() -> str:
    for folder in FOLDERS:
        folder.mkdir(parents=True, exist_ok=True)
    layout.ETC.chmod(0o700)
    net.bridge_up()
    credentials.keystone_keys()
    config.write_control_plane()
    return f"{layout.BRIDGE} {layout.CONTROLLER}"


def _start_database() -> str:
    restored = databases.restore()
    note = base.start(find("mariadb"))
    databases.create()
    return "schemas from the kept copy" if restored else note


def _migrator(chain: str) -> Callable[[], str]:
    def migrate() -> str:
        if databases.migrated():
            return "is there"
        databases.migrate(chain)
        return "made"

    return migrate


def _keep_schemas() -> str:
    if databases.migrated():
        return "are there"
    databases.mark_migrated()
    base.stop(find("mariadb"))  # only a stopped server's files are a copy worth keeping
    databases.keep()
    base.start(find("mariadb"))
    return "kept for the next lab"


def _starter(name: str) -> Callable[[], str]:
    return lambda: base.start(find(name))
