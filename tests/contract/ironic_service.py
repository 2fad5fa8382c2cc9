# SPDX-License-Identifier: Apache-2.0
"""A real Ironic (API and conductor in one process) on SQLite, for tests."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bcrypt
import requests

from tests.contract.bmc import PASSWORD, USER, Emulator, free_port

CONFIG = """\
[DEFAULT]
auth_strategy = http_basic
http_basic_auth_user_file = {folder}/htpasswd
rpc_transport = none
host = vmha-test
my_ip = 127.0.0.1
state_path = {folder}
use_stderr = true
enabled_hardware_types = fake-hardware,redfish
enabled_boot_interfaces = fake,pxe
enabled_deploy_interfaces = fake,direct
enabled_management_interfaces = fake,redfish
enabled_power_interfaces = fake,redfish
enabled_network_interfaces = noop
enabled_inspect_interfaces = no-inspect
enabled_bios_interfaces = no-bios
enabled_firmware_interfaces = no-firmware
enabled_console_interfaces = no-console
enabled_raid_interfaces = no-raid
enabled_vendor_interfaces = no-vendor
[database]
connection = sqlite:///{folder}/ironic.sqlite
[api]
host_ip = 127.0.0.1
port = {port}
[conductor]
automated_clean = false
power_state_change_timeout = 2
[fake]
power_delay = 0
[dhcp]
dhcp_provider = none
[oslo_messaging_notifications]
driver = noop
"""
API = {"X-OpenStack-Ironic-API-Version": "1.31"}


@dataclass
class Ironic:
    """A running Ironic; `node` makes one that Ironic knows to be on."""

    url: str

    def _call(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        answer = requests.request(
            method,
            f"{self.url}/v1/nodes{path}",
            json=body,
            auth=(USER, PASSWORD),
            headers=API,
            timeout=30,
        )
        answer.raise_for_status()
        return dict(answer.json()) if answer.content else {}

    def node(self, name: str, **body: Any) -> str:
        """Make a node, with fake hardware unless `body` says otherwise, and switch it on."""
        self._call("POST", "", {"driver": "fake-hardware", "name": name, **body})
        self._call("PUT", f"/{name}/states/power", {"target": "power on"})
        await_power(self, name, "power on")
        return name

    def redfish_node(self, name: str, emulator: Emulator, system: str) -> str:
        """Make a node behind a Redfish BMC."""
        info = {
            "redfish_address": emulator.url,
            "redfish_system_id": f"/redfish/v1/Systems/{system}",
            "redfish_username": USER,
            "redfish_password": PASSWORD,
        }
        return self.node(name, driver="redfish", driver_info=info)

    def power(self, name: str) -> str | None:
        """Return what Ironic has stored."""
        state: str | None = self._call("GET", f"/{name}")["power_state"]
        return state


def await_power(service: Ironic, name: str, state: str) -> None:
    """Wait until Ironic says so of a node."""
    end = time.monotonic() + 60
    while service.power(name) != state:
        if time.monotonic() > end:
            raise RuntimeError(f"Ironic does not see {name} as {state}")
        time.sleep(0.1)


@contextmanager
def ironic(folder: Path) -> Iterator[Ironic]:
    """Run Ironic until the block ends."""
    port = free_port()
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(rounds=4, prefix=b"2b")).decode()
    (folder / "htpasswd").write_text(f"{USER}:{hashed}\n")
    (folder / "ironic.conf").write_text(CONFIG.format(folder=folder, port=port))
    programs = Path(sys.executable).parent
    options = ["--config-file", str(folder / "ironic.conf")]
    with (folder / "log").open("wb") as output:
        subprocess.run(
            [str(programs / "ironic-dbsync"), *options, "create_schema"],
            check=True,
            stdout=output,
            stderr=output,
            timeout=300,
        )
        process = subprocess.Popen(
            [str(programs / "ironic"), *options],
            stdout=output,
            stderr=output,
        )
        try:
            _await(process, f"http://127.0.0.1:{port}", folder / "log")
            yield Ironic(f"http://127.0.0.1:{port}")
        finally:
            process.kill()
            process.wait(timeout=30)


def _await(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    end = time.monotonic() + 180
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        try:
            answer = requests.get(
                f"{url}/v1/drivers", auth=(USER, PASSWORD), headers=API, timeout=10
            )
            if answer.ok and answer.json()["drivers"]:
                return
        except requests.RequestException:
            pass
        time.sleep(0.2)
    raise RuntimeError(f"Ironic does not answer: {log.read_text()[-2000:]}")
