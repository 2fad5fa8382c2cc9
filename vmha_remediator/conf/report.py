# SPDX-License-Identifier: Apache-2.0
"""[report]: who is told of each change of an incident, beside the log."""

from __future__ import annotations

from pathlib import Path

from oslo_config import cfg

from vmha_remediator.errors import ConfigError

GROUP = "report"

OPTS: list[cfg.Opt] = [
    cfg.StrOpt(
        "notification_url",
        secret=True,
        help="Transport (rabbit://...) on which every change is sent as an oslo.messaging "
        "notification vmha.incident.STATE. Unset: none is sent. Wrong or away: each change is "
        "tried for a moment, then logged as not told; recovery does not wait for it.",
    ),
    cfg.StrOpt(
        "notification_topic",
        default="notifications",
        help="Topic of these notifications. One that nobody consumes: they pile up in the broker.",
    ),
    cfg.StrOpt(
        "apprise_file",
        help="File with apprise addresses (mailto://, slack://, pagerduty://, ...), one a line; "
        "# begins a comment. They hold secrets, so keep the file to the service's user. "
        "Unset: nobody is told so. An address that apprise does not understand: start-up stops "
        "and names the line.",
    ),
    cfg.ListOpt(
        "apprise_states",
        default=["detected", "held", "reported", "recovered", "cleared", "readmitted"],
        help="Changes into these states are told by apprise. Too many: people stop reading; "
        "without 'held' nobody learns that somebody has to act.",
    ),
    cfg.FloatOpt(
        "timeout",
        default=10.0,
        min=1.0,
        max=120.0,
        help="Seconds for which one address is tried, outside the engine's own thread. Too "
        "short: slow mail servers are given up.",
    ),
]


def addresses(path: str | None) -> list[tuple[int, str]]:
    """Return the addresses of an apprise file with their line numbers; raises `ConfigError`."""
    if not path:
        return []
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        reason = getattr(exc, "strerror", None) or "no text"
        raise ConfigError(f"[{GROUP}] apprise_file {path}: {reason}") from exc
    stripped = ((number, line.strip()) for number, line in enumerate(lines, 1))
    return [(number, line) for number, line in stripped if line and not line.startswith("#")]
