# SPDX-License-Identifier: Apache-2.0
"""Settings of other services that no API tells: one table of what bites, and the exact change."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from vmha_remediator.doctor.finding import Finding, Seen, Unread, ok, unknown, wrong

AREA = "settings"


def number(least: float, most: float) -> Callable[[str], bool]:
    """Return a test for a number within bounds."""

    def test(text: str) -> bool:
        try:
            return least <= float(text) <= most
        except ValueError:
            return False

    return test


def is_true(text: str) -> bool:
    """Tell whether oslo.config takes the text for true."""
    return text.strip().lower() in ("true", "1", "yes", "on")


def is_false(text: str) -> bool:
    """Tell whether oslo.config takes the text for false."""
    return text.strip().lower() in ("false", "0", "no", "off")


def is_empty(text: str) -> bool:
    """Tell whether nothing is set."""
    return not text.strip()


@dataclass(frozen=True)
class Setting:
    """One option of another service: what it should be, its own default, and why."""

    service: str  # key of --NAME-config
    section: str
    option: str
    good: Callable[[str], bool]
    wanted: str
    default: str  # the service's own, which holds when the file does not name the option
    why: str


SETTINGS: tuple[Setting, ...] = (
    Setting("gnocchi", "metricd", "metric_processing_delay", number(0, 2), "1", "60",
            "a measure is read up to that many seconds late, and so is every detection"),
    Setting("gnocchi", "metricd", "greedy", is_true, "true", "true",
            "without it measures wait for the next round (only Redis is greedy at all)"),
    Setting("aodh", "evaluator", "evaluation_interval", number(1, 5), "2", "60",
            "alarms are looked at that seldom, which is added to every detection"),
    Setting("aodh", "coordination", "backend_url", is_empty, "(unset)", "",
            "with tooz down nothing is evaluated at all; unset, workers share by the database"),
    Setting("aodh", "service_credentials", "timeout", number(0.5, 5), "3", "",
            "one hung read of Gnocchi stalls every alarm of the cloud"),
    Setting("aodh", "DEFAULT", "record_history", is_false, "false", "true",
            "every transition is written twice, which slows the one evaluator thread"),
    Setting("ceilometer", "oslo_messaging_notifications", "retry", number(0, 2), "0", "-1",
            "with the broker away a publish blocks until it is back, and then some"),
    Setting("ceilometer", "oslo_messaging_rabbit", "heartbeat_timeout_threshold",
            number(1, 10), "6", "60",
            "a broker that vanishes is noticed that late, and samples are lost meanwhile"),
    Setting("ceilometer", "notification", "batch_size", number(1, 1), "1", "1",
            "samples wait for a batch to fill"),
    Setting("nova", "DEFAULT", "resume_guests_state_on_host_boot", is_true, "true", "false",
            "unprotected guests stay off after a host's reboot; protected ones are recovered"),
    Setting("nova", "DEFAULT", "service_down_time", number(1, 60), "60", "60",
            "the scheduler goes on choosing a host that has died for that long"),
)  # fmt: skip

#: The services whose file can be given, and what their file is usually called.
FILES: Mapping[str, str] = {
    "nova": "/etc/nova/nova.conf",
    "gnocchi": "/etc/gnocchi/gnocchi.conf",
    "aodh": "/etc/aodh/aodh.conf",
    "ceilometer": "/etc/ceilometer/ceilometer.conf",
}


#: Options of [api] in Aodh; an account's other alarms count as well, so just enough is little.
QUOTAS = ("user_alarm_quota", "project_alarm_quota")
UNLIMITED = "-1"


def settings(seen: Seen) -> Iterator[Finding]:
    """Compare every file that could be read with the table."""
    for service, usual in FILES.items():
        found = seen.configs.get(service, Unread("not given"))
        mine = [s for s in SETTINGS if s.service == service]
        if isinstance(found, Unread):
            options = ", ".join(f"[{s.section}] {s.option}" for s in mine)
            yield unknown(
                AREA,
                service,
                f"its configuration is not here ({found.why}): {options}",
                f"run this where the file is, with --{service}-config {usual}",
            )
            continue
        for setting in mine:
            yield _compare(setting, found)


def _compare(setting: Setting, found: Mapping[tuple[str, str], str]) -> Finding:
    where = f"[{setting.section}] {setting.option}"
    value = found.get((setting.section, setting.option))
    default = f" (so {setting.default})" if setting.default else ""
    shown = value if value is not None else f"not set{default}"
    if setting.good(setting.default if value is None else value):
        return ok(AREA, setting.service, f"{where} is {shown}")
    return wrong(
        AREA,
        setting.service,
        f"{where} is {shown}: {setting.why}",
        f"in {FILES[setting.service]}: [{setting.section}] {setting.option} = {setting.wanted}",
    )


def quotas(seen: Seen) -> Iterator[Finding]:
    """Aodh lets the account have as many alarms as there are to be.

    Its API is not asked: Aodh 23 writes a quota down when it is asked for one, -1 as well, and
    then refuses every alarm of that project.
    """
    found = seen.configs.get("aodh", Unread("not given"))
    if isinstance(found, Unread) or isinstance(seen.alarms, Unread):
        return
    plan = seen.alarms
    needed = len(plan.create) + len(plan.update) + plan.unchanged
    for option in QUOTAS:
        limit = found.get(("api", option), UNLIMITED)
        if limit == UNLIMITED or number(needed, math.inf)(limit):
            yield ok(AREA, "aodh", f"[api] {option} is {limit}: room for {needed} alarms")
        else:
            yield wrong(
                AREA,
                "aodh",
                f"[api] {option} is {limit}: alarms sync needs {needed}, and the rest is refused",
                f"in {FILES['aodh']}: [api] {option} = {UNLIMITED}",
            )


CHECKS = (settings, quotas)
