# SPDX-License-Identifier: Apache-2.0
"""Keystone, Placement, Glance, Neutron, Nova, Gnocchi, Aodh and Ceilometer."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil
import redis
import requests

from tests.lab import layout, process
from tests.lab.services import base, cloudapi, infra, vmha
from tests.lab.services.base import Service, http_ready
from tests.lab.services.databases import GNOCCHI_UPGRADE, run_tool

_NATIVE_THREADS = {"OS_NOVA_DISABLE_EVENTLET_PATCHING": "1"}


def _api(
    name: str,
    *,
    path: str = "/",
    needs: tuple[str, ...] = ("keystone",),
    prepare: Callable[[], None] = lambda: None,
) -> Service:
    runner = [sys.executable, "-m", "tests.lab.services.wsgi_runner", name]
    return Service(
        name=name,
        argv=lambda: runner,
        ready=http_ready(name, path),
        needs=("mariadb", *needs),
        ports=(name,),
        prepare=prepare,
    )


def _daemon(
    name: str,
    config: Sequence[str],
    *,
    ready: Callable[[], bool],
    needs: tuple[str, ...],
    env: Mapping[str, str] | None = None,
    prepare: Callable[[], None] = lambda: None,
) -> Service:
    files = [f"--config-file={layout.ETC / file}" for file in config]
    return Service(
        name=name,
        argv=lambda: [layout.VENV_BIN / name, *files],
        ready=ready,
        needs=needs,
        env=lambda: env or {},
        prepare=prepare,
    )


def _glance_folders() -> None:
    for name in ("images", "staging", "tasks"):
        (layout.STATE / "glance" / name).mkdir(parents=True, exist_ok=True)


def _neutron_folders() -> None:
    (layout.STATE / "neutron/lock").mkdir(parents=True, exist_ok=True)


def _nova_folders() -> None:
    (layout.STATE / "nova/lock").mkdir(parents=True, exist_ok=True)


def _telemetry_files() -> None:
    """Have the product write its own polling, pipeline and resource definitions."""
    where = layout.ETC / "ceilometer/telemetry"
    where.mkdir(parents=True, exist_ok=True)
    vmha.manage("telemetry", "render", "--vms", f"--dir={where}")


def _gnocchi_upgrade() -> None:
    run_tool(GNOCCHI_UPGRADE)


def _gnocchi_processes() -> bool:
    """Return whether a metricd has joined Gnocchi's group of processors.

    Read where tooz keeps it (one entry beside the members): Gnocchi's own status page answers
    500, with a long trace in its log, until the first one has joined.
    """
    try:
        group = infra.redis_client("coordination").hlen("_tooz_group:gnocchi-processing")
        return int(str(group)) > 1
    except redis.RedisError:
        return False


def _reports_up(binary: str) -> Callable[[], bool]:
    """Return a check: Nova itself lists `binary` as up."""

    def ready() -> bool:
        answer = requests.get(
            f"{layout.url('nova')}/v2.1/os-services",
            params={"binary": binary},
            headers=cloudapi.admin_headers(),
            timeout=10,
        )
        return answer.ok and any(s["state"] == "up" for s in answer.json()["services"])

    return ready


def _evaluates() -> bool:
    """Return whether the evaluator that runs now has begun a round: its log is all it shows."""
    found = process.find("aodh-evaluator")
    if found is None:
        return False
    workers = [str(child.pid) for child in psutil.Process(found.pid).children()]
    rounds = (f" {pid} INFO aodh.evaluator [-] initiating" for pid in workers)
    text = base.tail(Path(found.log))
    return any(line in text for line in rounds)


NOVA_FILES = ("nova/nova.conf", "nova/controller.conf")
RPC = ("mariadb", "rabbitmq")

SERVICES = (
    _api("keystone", path="/v3", needs=()),
    _api("placement"),
    _api("glance", path="/healthcheck", prepare=_glance_folders),
    _api("neutron", needs=("keystone", "rabbitmq"), prepare=_neutron_folders),
    _api("nova", needs=("keystone", "rabbitmq", "placement"), prepare=_nova_folders),
    _daemon(
        "nova-conductor",
        NOVA_FILES,
        ready=_reports_up("nova-conductor"),
        needs=(*RPC, "placement", "keystone"),  # it ends when Placement does not answer
        env=_NATIVE_THREADS,
        prepare=_nova_folders,
    ),
    _daemon(
        "nova-scheduler",
        NOVA_FILES,
        ready=_reports_up("nova-scheduler"),
        needs=(*RPC, "placement", "keystone"),
        env=_NATIVE_THREADS,
        prepare=_nova_folders,
    ),
    _api("gnocchi", needs=("keystone", "redis"), prepare=_gnocchi_upgrade),
    _daemon(
        "gnocchi-metricd",
        ("gnocchi/gnocchi.conf",),
        ready=_gnocchi_processes,
        needs=("mariadb", "redis", "gnocchi"),
    ),
    _api("aodh", needs=("keystone", "rabbitmq")),
    _daemon(
        "aodh-evaluator",
        ("aodh/aodh.conf",),
        ready=_evaluates,
        needs=(*RPC, "keystone", "gnocchi"),
    ),
    _daemon(
        "aodh-notifier",
        ("aodh/aodh.conf",),
        ready=lambda: infra.queue_has_consumer("alarming.sample"),
        needs=(*RPC, "keystone"),
    ),
    _daemon(
        "ceilometer-agent-notification",
        ("ceilometer/notification.conf",),
        ready=lambda: infra.queue_has_consumer("notifications.sample"),
        needs=("rabbitmq", "keystone", "gnocchi"),
        prepare=_telemetry_files,
    ),
)
