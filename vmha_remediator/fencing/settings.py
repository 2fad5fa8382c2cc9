# SPDX-License-Identifier: Apache-2.0
"""Settings of fencing drivers: what a key may hold, and where a secret may come from."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from vmha_remediator.errors import FencingError


class SettingError(FencingError):
    """A setting is wrong; `key` names it and the text says why and what would be right."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(f"{key}: {reason}")
        self.key = key


@dataclass(frozen=True)
class Setting:
    """One key of a driver's section in the hosts file.

    `parse` turns the value from YAML into the one that the driver uses, or raises
    `ValueError` with the reason.
    """

    key: str
    parse: Callable[[Any], Any]
    default: Any = None
    required: bool = False
    help: str = ""


#: Keys that people try first, and what to write instead.
_ADVICE = {
    "password": "a password does not belong in this file; name a file of mode 0600 with "
    "'password_file' or an environment variable with 'password_env'",
}


def parse_all(settings: Iterable[Setting], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return every setting's value, parsed or default; raises `SettingError`."""
    known = {setting.key: setting for setting in settings}
    for key in given:
        if key not in known:
            raise SettingError(key, _ADVICE.get(key, f"unknown; known are {', '.join(known)}"))
    values: dict[str, Any] = {}
    for key, setting in known.items():
        raw = given.get(key)
        if raw is None:
            if setting.required:
                raise SettingError(key, f"missing; it is {setting.help}")
            values[key] = setting.default
            continue
        try:
            values[key] = setting.parse(raw)
        except ValueError as exc:
            raise SettingError(key, str(exc)) from exc
    return values


def text(raw: Any) -> str:
    """Accept text that is not empty."""
    if not isinstance(raw, str) or not raw.strip():
        raise ValueError(f"must be text, not {raw!r}")
    return raw.strip()


def seconds(raw: Any) -> float:
    """Accept a number of seconds above zero."""
    if isinstance(raw, bool) or not isinstance(raw, int | float) or not 0 < raw < float("inf"):
        raise ValueError(f"must be a number of seconds above 0, not {raw!r}")
    return float(raw)


def http_url(raw: Any) -> str:
    """Accept http(s)://host[:port] without credentials; a path is cut off."""
    parts = urlsplit(url_with_path(raw))
    return f"{parts.scheme}://{parts.netloc}"


def url_with_path(raw: Any) -> str:
    """Accept http(s)://host[:port][/path] without credentials."""
    value = text(raw)
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError as exc:
        raise ValueError(f"is no address: {exc}") from exc
    if parts.username or parts.password:
        # The value itself stays out of the message: it holds a password.
        raise ValueError("must not hold credentials; use username and password_file")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"must look like https://bmc.example.org, not {value!r}")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def host(raw: Any) -> str:
    """Accept a host name or address, without scheme, port or credentials."""
    value = text(raw).strip("[]")
    if any(c in value for c in "/@ ") or (":" in value and value.count(":") < 2):
        # The value itself stays out of the message: it may hold a password.
        raise ValueError("must be a name or an address alone, such as 10.0.9.2; see 'port'")
    return value


def port(raw: Any) -> int:
    """Accept a port's number."""
    if isinstance(raw, bool) or not isinstance(raw, int) or not 0 < raw < 65536:
        raise ValueError(f"must be a port, 1 to 65535, not {raw!r}")
    return raw


def uuid(raw: Any) -> str:
    """Accept a UUID, in any usual spelling."""
    try:
        return str(UUID(text(raw)))
    except ValueError as exc:
        raise ValueError(f"must be a UUID, not {raw!r}") from exc


def one_of(*choices: str) -> Callable[[Any], str]:
    """Return a parser that accepts exactly these words."""

    def parse(raw: Any) -> str:
        if raw not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}, not {raw!r}")
        return str(raw)

    return parse


def verify(raw: Any) -> bool | str:
    """Accept true, false, or the path of a CA bundle (file or directory)."""
    if isinstance(raw, bool):
        return raw
    path = text(raw)
    if not Path(path).exists():
        raise ValueError(f"no CA bundle at {path}; give true, false or a path")
    return path


def check_secret_file(path: str) -> None:
    """Raise `ValueError` unless `path` is a file that nobody but its owner can use."""
    try:
        status = Path(path).stat()
    except OSError as exc:
        raise ValueError(f"{path}: {exc.strerror}") from exc
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"{path} is not a file")
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077:
        raise ValueError(f"{path} has mode {mode:04o}; others can use it: chmod 600 {path}")


def secret_file(raw: Any) -> str:
    """Accept the path of a file that nobody but its owner can use."""
    path = text(raw)
    check_secret_file(path)
    return path


def check_login(settings: Mapping[str, Any]) -> None:
    """Check a login that may be left out as a whole; raises `SettingError`."""
    if settings["username"] is not None:
        check_password(settings)
    elif settings["password_file"] or settings["password_env"]:
        raise SettingError("username", "missing, although a password is given")


def check_password(settings: Mapping[str, Any], key: str = "password") -> None:
    """Raise `SettingError` unless `key`_file or `key`_env gives a secret, and not both."""
    file, variable = settings[f"{key}_file"], settings[f"{key}_env"]
    if (file is None) == (variable is None):
        raise SettingError(f"{key}_file", f"give it, or {key}_env, and not both")
    if file is not None:
        try:
            check_secret_file(file)
        except ValueError as exc:
            raise SettingError(f"{key}_file", str(exc)) from exc


def read_secret(path: str | None, variable: str | None) -> str:
    """Return the secret from the file or the environment; raises `FencingError`."""
    try:
        if path is not None:
            check_secret_file(path)
            secret = Path(path).read_text(encoding="utf-8").strip()
        else:
            secret = os.environ.get(variable or "", "")
    except (OSError, ValueError) as exc:
        raise FencingError(f"password: {exc}") from exc
    if not secret:
        where = path if path is not None else f"environment variable {variable}"
        raise FencingError(f"password: {where} is empty")
    return secret
