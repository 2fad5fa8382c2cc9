# SPDX-License-Identifier: Apache-2.0
"""[webhook]: where alarms call, and the key that signs their addresses."""

from __future__ import annotations

from pathlib import Path

from oslo_config import cfg, types

from vmha_remediator.errors import ConfigError

GROUP = "webhook"


class Address(types.URI):  # type: ignore[misc]
    """An address of the web; another text is refused with a sentence."""

    def __init__(self) -> None:
        super().__init__(schemes=["http", "https"])

    def __call__(self, value: object) -> str:
        try:
            return str(super().__call__(value))
        except ValueError as exc:
            raise ValueError(f"{value} is no address such as http://control-1:8778") from exc


OPTS: list[cfg.Opt] = [
    cfg.Opt(
        "base_url",
        type=Address(),
        default="http://127.0.0.1:8778",
        help="Address of this receiver as the Aodh notifier reaches it. Wrong: alarms fire and "
        "nobody hears them; the engine still finds them by listing, a few seconds later.",
    ),
    cfg.StrOpt(
        "key_file",
        default="/etc/vmha/webhook.key",
        help="File with the secret that signs webhook addresses (at least 16 bytes). Changed "
        "without 'vmha-manage alarms sync': every webhook is answered 403 and counted.",
    ),
    cfg.StrOpt(
        "previous_key_file",
        help="File with the key used before, still accepted while alarms are being synced.",
    ),
]

MIN_KEY_BYTES = 16


def read_key(path: str) -> bytes:
    """Return the key in `path` without surrounding white space; raises `ConfigError`."""
    try:
        key = Path(path).read_bytes().strip()
    except OSError as exc:
        raise ConfigError(f"[webhook] key file {path}: {exc.strerror}") from exc
    if len(key) < MIN_KEY_BYTES:
        raise ConfigError(f"[webhook] key file {path}: shorter than {MIN_KEY_BYTES} bytes")
    return key
