# SPDX-License-Identifier: Apache-2.0
"""The lab's passwords: random for each lab, in one file that only its owner reads."""

from __future__ import annotations

import base64
import json
import os
import secrets
from functools import cache
from pathlib import Path

from tests.lab import layout

#: Services that log in to Keystone, as themselves, in project "service".
SERVICE_USERS = ("nova", "placement", "glance", "neutron", "gnocchi", "aodh", "ceilometer", "vmha")
NAMES = ("admin", "demo", "mariadb", "rabbitmq", "redis", "heat", *SERVICE_USERS)


@cache
def passwords() -> dict[str, str]:
    """Return name -> password; made up and stored the first time."""
    path = layout.ETC / "passwords.json"
    if path.exists():
        known: dict[str, str] = json.loads(path.read_text())
        return known
    made = {name: secrets.token_hex(16) for name in NAMES}
    write_private(path, json.dumps(made, indent=1))
    return made


def keystone_keys() -> None:
    """Write Keystone's token and credential keys, as `keystone-manage fernet_setup` would."""
    for kind in ("fernet", "credential"):
        where = layout.STATE / "keystone" / kind
        where.mkdir(parents=True, exist_ok=True, mode=0o700)
        for number in ("0", "1"):
            if not (where / number).exists():
                write_private(where / number, base64.urlsafe_b64encode(os.urandom(32)).decode())


def write_private(path: Path, text: str) -> Path:
    """Write a file that is never readable by others, not even for a moment; return `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(text)
    temporary.replace(path)
    return path
