# SPDX-License-Identifier: Apache-2.0
"""The hosts' BMC: sushy-tools' Redfish emulator over the lab's hosts."""

from __future__ import annotations

import json
import secrets
import uuid
from pathlib import Path

import bcrypt

from tests.lab import layout, process
from tests.lab.credentials import write_private
from tests.lab.errors import LabError

NAME = "redfish"
USER = "admin"
#: How the BMC of a host can fail. refuse: 503 to every request about it. hang: answers only
#: once healed. lie: says that the power is off, and leaves it on. ok: works.
MODES = ("ok", "refuse", "hang", "lie")
_NAMESPACE = uuid.UUID("f2b1f6ba-54a5-4f5e-9d0b-0c1c0e2f8a11")


def machine(host: str) -> str:
    """Return the UUID of a host's machine."""
    return str(uuid.uuid5(_NAMESPACE, host))


def pinned(host: str) -> dict[str, dict[str, str]]:
    """Return a host's entry in the hosts file: that no other machine is taken for it."""
    return {NAME: {"uuid": machine(host)}}


def password_file() -> Path:
    """Return the file with the password of `USER`; only its owner reads it."""
    return layout.ETC / "redfish/password"


def auth_file() -> Path:
    """Return the emulator's own file with the password's hash."""
    return layout.ETC / "redfish/htpasswd"


def up() -> None:
    """Start the emulator on the controller's address; idempotent."""
    if process.alive(NAME):
        return
    if not password_file().exists():
        write_private(password_file(), secrets.token_hex(16))
    # The fewest rounds: the password is random, and every request is checked.
    password = password_file().read_text().strip().encode()
    write_private(auth_file(), f"{USER}:{bcrypt.hashpw(password, bcrypt.gensalt(4)).decode()}\n")
    process.forget(NAME)
    process.spawn(
        NAME, [layout.VENV_BIN / "python", "-m", "tests.lab.redfish.emulator"], cgroup="ctl"
    )


def down() -> None:
    """Stop the emulator."""
    process.stop(NAME)


def modes() -> dict[str, str]:
    """Return host -> mode, for the hosts whose BMC does not just work."""
    try:
        found: dict[str, str] = json.loads(_modes_file().read_text())
    except FileNotFoundError:
        return {}
    return found


def set_mode(host: str, mode: str) -> None:
    """Set how the BMC of a host behaves from now on; see `MODES`."""
    if mode not in MODES:
        raise LabError(f"a BMC cannot {mode!r}: one of {', '.join(MODES)}")
    wanted = {**modes(), host: mode}
    write_private(_modes_file(), json.dumps({h: m for h, m in wanted.items() if m != "ok"}))


def _modes_file() -> Path:
    return layout.STATE / "redfish.json"
