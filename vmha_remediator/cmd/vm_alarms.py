# SPDX-License-Identifier: Apache-2.0
"""vmha-manage alarms ... --vms: the alarms on single VMs."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from oslo_config import cfg

    from vmha_remediator.effects.aodh import Aodh
    from vmha_remediator.rules.alarms import Plan

#: Beyond so many alarms on VMs a sync says what they cost: ten milliseconds each, in the one
#: thread that evaluates the alarms on hosts, too.
MANY = 100
COST = 0.01


def sync(args: argparse.Namespace, conf: cfg.ConfigOpts) -> int:
    """Give every protected VM its alarm, and take away those of VMs that are gone."""
    from vmha_remediator.conf.webhook import read_key
    from vmha_remediator.effects.aodh import Aodh
    from vmha_remediator.effects.nova import make_nova
    from vmha_remediator.effects.session import make_session
    from vmha_remediator.remedy import protect
    from vmha_remediator.rules import vm_rule

    template = vm_rule.load(conf.rules.directory)
    key, group = read_key(conf.webhook.key_file), conf.vm_failure
    aodh = Aodh(make_session(conf), conf)
    servers = make_nova(conf).all_servers()
    wanted = [
        vm_rule.alarm_body(template, s.id, s.name, group.granularity, conf.webhook.base_url, key)
        for s in sorted(servers, key=lambda s: (s.name, s.id))
        if protect.is_protected(s, conf.evacuation.protect)
    ]
    plan = vm_rule.plan(aodh.vm_alarms(), wanted, prune=True)
    return _apply(aodh, plan, len(wanted), args.dry_run)


def _apply(aodh: Aodh, plan: Plan, count: int, dry_run: bool) -> int:
    from vmha_remediator.rules.alarms import describe

    for line in describe(plan):
        print(line)
    if not dry_run:
        aodh.apply(plan)
    verb = "would be " if dry_run else ""
    print(
        f"{count} protected VMs: {len(plan.create)} {verb}created, {len(plan.update)} "
        f"{verb}changed, {len(plan.delete)} {verb}deleted, {plan.unchanged} unchanged"
    )
    if count > MANY:
        print(
            f"{count} alarms on VMs make every evaluation by Aodh about {count * COST:.0f} s "
            "longer, and the detection of failed hosts with it; see doc/source/vm-failure.rst",
            file=sys.stderr,
        )
    return 0


def rows(aodh: Aodh) -> list[dict[str, Any]]:
    """Return our alarms on VMs as rows to be listed."""
    from vmha_remediator.rules.vm_rule import parse_name

    found = []
    for alarm in aodh.vm_alarms():
        rule, server = parse_name(alarm["name"]) or ("", "")
        found.append(
            {
                "server": server,
                "rule": rule,
                "state": alarm.get("state"),
                "severity": alarm.get("severity"),
                "enabled": alarm.get("enabled"),
                "alarm_id": alarm.get("alarm_id"),
            }
        )
    return found


def delete(args: argparse.Namespace, aodh: Aodh) -> int:
    """Delete every alarm of ours on a VM."""
    found = aodh.vm_alarms()
    for alarm in found:
        print(f"- {alarm['name']}")
        if not args.dry_run:
            aodh.delete(alarm["alarm_id"])
    print(f"{len(found)} alarms {'would be ' if args.dry_run else ''}deleted")
    return 0
