# SPDX-License-Identifier: Apache-2.0
"""vmha-manage alarms: the rules as Aodh holds them."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from vmha_remediator.errors import ConfigError
from vmha_remediator.verb import add_verb

if TYPE_CHECKING:
    from oslo_config import cfg

    from vmha_remediator.effects.aodh import Aodh
    from vmha_remediator.effects.gnocchi import Gnocchi

SYNC = """\
Make Aodh's alarms what the rules say, one set a host: create what is missing, change what
differs, delete what has no rule any more. Other people's alarms are left alone. Without
options: every host that has published evidence to Gnocchi.

Run it after a host was added, a rule or threshold was edited, or the webhook key was changed.

With --vms: one alarm on power.state for each protected VM instead; those of VMs that are gone or
not protected any more are deleted. Safe to run from a timer.

examples:
  vmha-manage alarms sync --dry-run
  vmha-manage alarms sync
  vmha-manage alarms sync --host compute7 --host compute8
  vmha-manage alarms sync --vms
"""
LINT = """\
Check the rule files: their form to the letter (Aodh accepts typos and then never evaluates
them) and what each rule could do over every possible reading. Exit status 1 if anything is
found.

examples:
  vmha-manage alarms lint
  vmha-manage alarms lint --dir /etc/vmha/rules
"""
LIST = """\
List our alarms and their states.

examples:
  vmha-manage alarms list
  vmha-manage alarms list --host compute7 --json
  vmha-manage alarms list --vms
"""
DELETE = """\
Delete our alarms, of some hosts or of all; other people's are left alone. Use it when a host
leaves for good.

examples:
  vmha-manage alarms delete --host compute7
  vmha-manage alarms delete --all --dry-run
  vmha-manage alarms delete --vms
"""
TIMING = """\
Say how long it takes from a host's power loss until the engine judges, term by term, with the
thresholds and intervals configured.

examples:
  vmha-manage alarms timing
  vmha-manage alarms timing --hosts 200
"""


def add_commands(subparsers: Any) -> None:
    """Add `alarms sync|lint|list|delete|timing`."""
    area = subparsers.add_parser("alarms", help="keep Aodh's alarms what the rules say")
    verbs = area.add_subparsers(metavar="COMMAND", required=True)

    sync = add_verb(verbs, "sync", "create, change and delete alarms as the rules say", SYNC)
    _host_option(sync)
    sync.add_argument("--all", action="store_true", help="every host known to Gnocchi, too")
    sync.add_argument("--vms", action="store_true", help="of protected VMs, not of hosts")
    sync.add_argument("--dry-run", action="store_true", help="only print the differences")
    sync.set_defaults(func=_sync)

    lint = add_verb(verbs, "lint", "check the rule files", LINT)
    lint.add_argument("--dir", metavar="DIR", help="rule files (default: those configured)")
    lint.set_defaults(func=_lint)

    listing = add_verb(verbs, "list", "list our alarms", LIST)
    _host_option(listing)
    listing.add_argument("--vms", action="store_true", help="those on VMs")
    listing.add_argument("--json", action="store_true", help="one JSON document")
    listing.set_defaults(func=_list)

    delete = add_verb(verbs, "delete", "delete our alarms", DELETE)
    which = delete.add_mutually_exclusive_group(required=True)
    _host_option(which)
    which.add_argument("--all", action="store_true", help="of every host")
    which.add_argument("--vms", action="store_true", help="of every VM")
    delete.add_argument("--dry-run", action="store_true", help="only say what would be deleted")
    delete.set_defaults(func=_delete)

    timing = add_verb(verbs, "timing", "how long a detection takes", TIMING)
    timing.add_argument("--hosts", type=int, default=4, metavar="N", help="hosts in the cloud")
    timing.set_defaults(func=_timing)


def _host_option(parser: Any) -> None:
    parser.add_argument(
        "--host", action="append", default=[], metavar="HOST", help="Nova host; repeatable"
    )


def _connect(conf: cfg.ConfigOpts) -> tuple[Aodh, Gnocchi]:
    from vmha_remediator.effects.aodh import Aodh
    from vmha_remediator.effects.gnocchi import Gnocchi
    from vmha_remediator.effects.session import make_session

    session = make_session(conf)
    return Aodh(session, conf), Gnocchi(session, conf)


def _sync(args: argparse.Namespace, conf: cfg.ConfigOpts) -> int:
    from vmha_remediator.cmd import vm_alarms
    from vmha_remediator.conf import rules as rules_conf
    from vmha_remediator.conf.webhook import read_key
    from vmha_remediator.rules import alarms

    if args.vms:
        return vm_alarms.sync(args, conf)
    templates = rules_conf.load_rules(conf)
    key = read_key(conf.webhook.key_file)
    aodh, gnocchi = _connect(conf)
    known = gnocchi.hosts()
    hosts = sorted({*args.host, *(known if args.all or not args.host else [])})
    if not hosts:
        raise ConfigError(
            "Gnocchi knows no host yet: start vmha-agent and ceilometer-polling on the hosts, "
            "or name them with --host"
        )
    thresholds = rules_conf.thresholds(conf, len({*known, *args.host}))
    wanted = alarms.wanted(templates, hosts, thresholds, conf.webhook.base_url, key)
    plan = alarms.plan(aodh.alarms(), wanted, hosts)
    for line in (*alarms.describe(plan), *plan.notes):
        print(line)
    if not args.dry_run:
        aodh.apply(plan)
    verb = "would be " if args.dry_run else ""
    print(
        f"{len(hosts)} hosts, {len(templates)} rules: {len(plan.create)} {verb}created, "
        f"{len(plan.update)} {verb}changed, {len(plan.delete)} {verb}deleted, "
        f"{plan.unchanged} unchanged"
    )
    return 0


def _lint(args: argparse.Namespace, conf: cfg.ConfigOpts) -> int:
    from vmha_remediator.conf import rules as rules_conf
    from vmha_remediator.errors import RuleError
    from vmha_remediator.rules import templates, vm_rule

    directory = args.dir or conf.rules.directory
    found, problems = templates.read(directory)
    problems += templates.lint_all(found, rules_conf.thresholds(conf))
    try:
        found = (*found, vm_rule.load(directory))
    except RuleError as exc:
        problems.append(str(exc))
    for problem in problems:
        print(problem)
    if not problems:
        print(f"{len(found)} rules can be trusted: {', '.join(t.name for t in found)}")
    return 1 if problems else 0


def _list(args: argparse.Namespace, conf: cfg.ConfigOpts) -> int:
    from vmha_remediator.cmd import vm_alarms
    from vmha_remediator.rules.alarms import parse_name

    aodh, _ = _connect(conf)
    rows = vm_alarms.rows(aodh) if args.vms else []
    for alarm in [] if args.vms else aodh.alarms():
        rule, host = parse_name(alarm["name"]) or ("", "")
        if not args.host or host in args.host:
            rows.append(
                {
                    "host": host,
                    "rule": rule,
                    "state": alarm.get("state"),
                    "severity": alarm.get("severity"),
                    "enabled": alarm.get("enabled"),
                    "alarm_id": alarm.get("alarm_id"),
                }
            )
    rows.sort(key=lambda row: [str(value) for value in row.values()])
    if args.json:
        print(json.dumps(rows, indent=2))
    elif rows:
        _table(rows)
    else:
        print("no alarms of ours; 'vmha-manage alarms sync' makes them")
    return 0


def _table(rows: list[dict[str, Any]]) -> None:
    head = list(rows[0])
    lines = [head, *([str(row[key]) for key in head] for row in rows)]
    widths = [max(len(line[n]) for line in lines) for n in range(len(head))]
    for line in lines:
        print("  ".join(text.ljust(w) for text, w in zip(line, widths, strict=True)).rstrip())


def _delete(args: argparse.Namespace, conf: cfg.ConfigOpts) -> int:
    from vmha_remediator.cmd import vm_alarms
    from vmha_remediator.rules.alarms import parse_name

    aodh, _ = _connect(conf)
    if args.vms:
        return vm_alarms.delete(args, aodh)
    count = 0
    for alarm in aodh.alarms():
        _, host = parse_name(alarm["name"]) or ("", "")
        if not (args.all or host in args.host):
            continue
        print(f"- {alarm['name']}")
        count += 1
        if not args.dry_run:
            aodh.delete(alarm["alarm_id"])
    print(f"{count} alarms {'would be ' if args.dry_run else ''}deleted")
    return 0


def _timing(args: argparse.Namespace, conf: cfg.ConfigOpts) -> int:
    from vmha_remediator.conf import rules as rules_conf
    from vmha_remediator.rules import timing

    every = timing.Intervals(
        publish=conf.telemetry.publish_interval,
        aodh=conf.telemetry.aodh_interval,
        hosts=args.hosts,
    )
    terms = timing.detection(rules_conf.thresholds(conf), every)
    typical, worst = timing.total(terms)
    print(f"{'typical':>8}  {'worst':>8}")
    for term in terms:
        print(f"{term.typical:7.2f}s  {term.worst:7.2f}s  {term.name}: {term.why}")
    print(f"{typical:7.2f}s  {worst:7.2f}s  from power loss to the engine's judgement")
    return 0
