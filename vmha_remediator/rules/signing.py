# SPDX-License-Identifier: Apache-2.0
"""Signatures of webhook addresses: who may say "look at this host now"."""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from urllib.parse import quote


def sign(key: bytes, rule: str, host: str) -> str:
    """Return the hex HMAC-SHA256 (RFC 2104) over rule and host; newline can be in neither."""
    return hmac.digest(key, f"{rule}\n{host}".encode(), "sha256").hex()


def verify(keys: Iterable[bytes], rule: str, host: str, signature: str) -> bool:
    """Tell whether `signature` was made with any of `keys`, in constant time a key."""
    given = signature.encode("utf-8", "replace")
    return any([hmac.compare_digest(sign(key, rule, host).encode(), given) for key in keys])


def webhook_url(base_url: str, key: bytes, rule: str, host: str) -> str:
    """Return the address that an alarm calls for `rule` on `host`."""
    path = f"/v1/alarms/{quote(rule, safe='')}/{quote(host, safe='')}"
    return f"{base_url.rstrip('/')}{path}?sig={sign(key, rule, host)}"
