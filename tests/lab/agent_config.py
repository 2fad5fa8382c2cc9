# SPDX-License-Identifier: Apache-2.0
"""What the vmha-agents are told, the key they share and the lease area they write to."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.lab import config, layout, process, watchdog
from tests.lab.credentials import write_private
from tests.lab.errors import LabError

_LEASE = Path("vmha/lease")  # below the shared storage
_SLOTS = 16  # room for more hosts than the lab has


def key_file() -> Path:
    """Return the file with the heartbeats' key, the same for all hosts."""
    return layout.ETC / "vmha/agent.key"


def write(host: str) -> Path:
    """Write and return the agent's configuration file of a host."""
    where = layout.host_dir(host)
    own: dict[str, dict[str, object]] = {
        "DEFAULT": {"debug": False},
        "agent": {
            "host": host,
            "address": layout.HOST_ADDRESS[host],
            "socket": where / "agent.sock",
            "lease_driver": "slots",
            "lease_path": layout.shared(host) / _LEASE,
            "cluster": layout.CLUSTER,
            "key_file": key_file(),
            "isolation_addresses": layout.GATEWAY,
            "boot_id_file": where / "boot_id",
            **watchdog.agent_options(host),
        },
    }
    return write_private(where / "etc/vmha-agent.conf", config.render(own))


def prepare(progress: Callable[[str], None]) -> None:
    """Make the shared key and the lease area, unless they are there."""
    if not key_file().exists():
        write_private(key_file(), secrets.token_hex(32))
    area = layout.STORAGE / _LEASE
    if area.exists():
        return
    area.parent.mkdir(parents=True, exist_ok=True)
    command = [str(layout.VENV_BIN / "vmha-agent"), "init", str(area)]
    done = subprocess.run(
        [*command, "--hosts", str(_SLOTS), "--cluster", layout.CLUSTER],
        env=process.environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    if done.returncode:
        if "No module named 'vmha_pollsters.agent.main'" in done.stderr:
            progress("vmha-agent is not installed: the hosts come up without it")
            return
        raise LabError(f"vmha-agent init failed: {done.stderr.strip()[-500:]}")
