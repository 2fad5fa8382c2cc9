# SPDX-License-Identifier: Apache-2.0
"""Write configuration files: the control plane's, each host's, and the remediator's."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

import yaml

from tests.lab import layout, power, redfish, settings
from tests.lab.credentials import passwords, write_private
from tests.lab.settings import Settings

#: Fixed, so that a host keeps its compute id over a new lab (FIELD: never written by the fake
#: driver, and a nova-compute that finds another one refuses to start).
_COMPUTE_IDS = uuid.UUID("5b0a8d94-6f0b-4e2e-a9a4-3f9e0f6f1c55")


def render(sections: Mapping[str, Mapping[str, object]]) -> str:
    """Return oslo.config's INI text; None values are left out."""
    blocks = []
    for section, options in sections.items():
        lines = [f"{key} = {_text(v)}" for key, v in options.items() if v is not None]
        blocks.append("\n".join([f"[{section}]", *lines]))
    return "\n\n".join(blocks) + "\n"


def write_control_plane() -> None:
    """Write every file of the control plane below ETC (all private: they hold passwords)."""
    for name, table in settings.FILES.items():
        _write(layout.ETC / name, table())
    nova_paste = layout.VENV_BIN.parent / "etc/nova/api-paste.ini"
    write_private(layout.ETC / "nova/api-paste.ini", nova_paste.read_text())
    for service, package in (("gnocchi", "gnocchi.rest"), ("aodh", "aodh.api")):
        _write_paste(service, package)
    write_private(layout.ETC / "clouds.yaml", yaml.safe_dump({"clouds": clouds()}))


def clouds() -> dict[str, object]:
    """Return clouds.yaml's clouds: an administrator, the remediator's user, a customer."""
    users = {
        "lab-admin": ("admin", "admin"),
        "lab-vmha": ("vmha", "service"),
        "lab-demo": ("demo", "demo"),
    }
    return {
        cloud: {
            "auth": {
                "auth_url": f"{layout.url('keystone')}/v3",
                "username": user,
                "password": passwords()[user],
                "project_name": project,
                "user_domain_name": "Default",
                "project_domain_name": "Default",
            },
            "region_name": settings.REGION,
            "identity_api_version": 3,
            "api_timeout": 30,
        }
        for cloud, (user, project) in users.items()
    }


def nova_compute_config(host: str) -> list[Path]:
    """Write and return the --config-file list of a host's nova-compute."""
    where = layout.host_dir(host)
    state = where / "nova"
    state.mkdir(parents=True, exist_ok=True)
    (state / "compute_id").write_text(str(uuid.uuid5(_COMPUTE_IDS, host)))
    own: Settings = {
        "DEFAULT": {
            "host": host,
            "my_ip": layout.HOST_ADDRESS[host],
            "state_path": state,
            "instances_path": layout.shared(host) / "instances",
            "compute_driver": "vmha_lab.LabDriver",
            "shelved_offload_time": -1,  # a shelved server stays on its host
        },
        "oslo_concurrency": {"lock_path": state / "lock"},
    }
    return [layout.ETC / "nova/nova.conf", _write(where / "etc/nova.conf", own)]


def ceilometer_polling_config(host: str) -> list[Path]:
    """Write and return the --config-file list of a host's ceilometer-polling.

    retry=0 and short broker heartbeats are for this process only: with the defaults an
    unreachable broker blocks one publication for more than a minute.
    """
    where = layout.host_dir(host)
    own: Settings = {
        "DEFAULT": {"host": host, "transport_url": settings.transport()},
        "polling": {
            "cfg_file": layout.ETC / "ceilometer/telemetry/polling.yaml",
            "heartbeat_socket_dir": where,
            "batch_size": 200,
        },
        "oslo_messaging_notifications": {"retry": 0},
        "oslo_messaging_rabbit": {"heartbeat_timeout_threshold": 6},
        "service_credentials": {
            **settings.login("ceilometer"),
            "interface": "internal",
            "timeout": 5,
        },
        "vmha": {"agent_socket": where / "agent.sock"},
    }
    return [_write(where / "etc/ceilometer-polling.conf", own)]


def ceilometer_compute_config(host: str) -> list[Path]:
    """Write and return the --config-file list of a host's compute agent, which polls its VMs.

    Nova is asked for all of the host's VMs at each poll: one that has moved away must not be
    said to be off here.
    """
    where = layout.host_dir(host)
    (where / "power").mkdir(parents=True, exist_ok=True)
    own: Settings = {
        "DEFAULT": {"host": host, "transport_url": settings.transport()},
        "compute": {"instance_discovery_method": "naive", "resource_cache_expiry": 0},
        "polling": {
            "cfg_file": power.polling_file(host),
            "heartbeat_socket_dir": where / "power",
            "batch_size": 200,
        },
        "oslo_messaging_notifications": {"retry": 0},
        "oslo_messaging_rabbit": {"heartbeat_timeout_threshold": 6},
        "service_credentials": {
            **settings.login("ceilometer"),
            "interface": "internal",
            "timeout": 5,
        },
    }
    return [_write(where / "etc/ceilometer-compute.conf", own)]


def vmha_config() -> Path:
    """Write and return the configuration of the remediator and of vmha-manage."""
    etc, state = layout.ETC / "vmha", layout.STATE / "vmha"
    state.mkdir(parents=True, exist_ok=True)
    key = etc / "webhook.key"
    if not key.exists():
        write_private(key, secrets.token_hex(32))
    own: Settings = {
        "cloud": {**settings.login("vmha"), "interface": "internal"},
        "webhook": {"base_url": layout.url("vmha"), "key_file": key},
        "api": {"host": layout.CONTROLLER, "port": layout.PORTS["vmha"]},
        "database": {"connection": f"sqlite:///{vmha_database()}"},
        "engine": {"coordination_url": f"file://{state / 'coordination'}"},
        "fencing": {"hosts_file": _fencing_file()},
        # The lab breaks the same hosts over and over: each time they are to be taken back, and
        # only what comes three times within 90 s is flapping.
        "guards": {"quarantine_after": 0, "flap_window": 90, "flap_calm": 20},
    }
    return _write(layout.ETC / "vmha.conf", own)


def vmha_database() -> Path:
    """Return where the remediator keeps what it knows."""
    return layout.STATE / "vmha/vmha.sqlite"


def vmha_config_files() -> list[Path]:
    """Return the remediator's configuration, and what a test wants otherwise after it."""
    files = [vmha_config(), layout.ETC / "vmha-otherwise.conf"]
    return [path for path in files if path.exists()]


def vmha_otherwise(table: Settings) -> None:
    """Write what a test wants of the remediator; an empty table: all as it was."""
    _write(layout.ETC / "vmha-otherwise.conf", table)


def _fencing_file() -> Path:
    """Write and return the file that says how each host is powered off."""
    bmc = {
        "url": layout.url("redfish"),
        "system": "{host}",
        "username": redfish.USER,
        "password_file": str(redfish.password_file()),
    }
    document = {
        "defaults": {"drivers": ["redfish", "manual"], "redfish": bmc},
        "hosts": {host: redfish.pinned(host) for host in layout.HOSTS},
    }
    return write_private(layout.ETC / "vmha/fencing.yaml", yaml.safe_dump(document))


def _write_paste(service: str, package: str) -> None:
    """Write the service's own paste file with its token check reading *our* configuration."""
    text = (resources.files(package) / "api-paste.ini").read_text()
    project = f"oslo_config_project = {service}"
    ours = f"{project}\noslo_config_file = {layout.ETC / service / service}.conf"
    write_private(layout.ETC / service / "api-paste.ini", text.replace(project, ours))


def _write(path: Path, table: Settings) -> Path:
    return write_private(path, render(table))


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
