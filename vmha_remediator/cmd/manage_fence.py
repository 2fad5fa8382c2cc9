# SPDX-License-Identifier: Apache-2.0
"""vmha-manage fence: can each host be powered off, and is it off?"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vmha_remediator.cmd import output, stores
from vmha_remediator.errors import ConfigError, VmhaError
from vmha_remediator.verb import add_verb

if TYPE_CHECKING:
    from oslo_config import cfg

    from vmha_remediator.fencing.fencer import Fencer
    from vmha_remediator.rules.starved import Step

LIST = """\
Show the hosts file as it is understood: each host's levels, in the order in which they are tried,
what a success of each would prove, and every mistake with its file and line. No BMC is asked.

examples:
  vmha-manage fence list
  vmha-manage fence list compute-1 --json

exit status: 0 every host could be fenced as far as the file tells; 1 there is a mistake.
"""
STATUS = """\
Read every host's power state from its fencing drivers. Nothing is changed.

'unknown' is what drivers say that cannot know: manual, watchdog, and ironic for a node that was
last seen off.

examples:
  vmha-manage fence status
  vmha-manage fence status compute-1 --json

exit status: 0 every host was read; 1 one could not be.
"""
TEST = """\
Try everything that powering a host off needs, without powering anything off: the hosts file,
the credentials, the BMC's certificate, the system's identity, its power state, and which proof
each level would give. Run it for every host before the first failure does.

With --really one host is powered off and on again, by each of its levels that can. That is
refused unless its nova-compute is disabled and no VM is on it. Stop its agent first, or the
engine takes it for a failure:

  openstack compute service set --disable --disable-reason 'fence test' compute-1 nova-compute
  (move its VMs away; on compute-1: systemctl stop vmha-agent)
  vmha-manage fence test compute-1 --really
  openstack compute service set --enable compute-1 nova-compute

examples:
  vmha-manage fence test compute-1
  vmha-manage fence test --json      (all hosts in the file, side by side)

exit status: 0 every driver could be relied on; 1 one could not.
"""
TIMING = """\
Show, term by term, how long a silence proves that a host's own watchdog has reset it (driver
"watchdog"), for the intervals of the agents' configuration. A host with an armed watchdog
publishes its promise itself; this is for planning.

examples:
  vmha-manage fence timing
  vmha-manage fence timing --watchdog-timeout 30 --wait 120
"""
CONFIRM = """\
Say that a host is off, for its present failure, when no driver can tell (its BMC lost power
too, say). It is taken as the proof without which no VM is started elsewhere.

By confirming you assert that the machine's power is off NOW and that nobody will switch it on
before its VMs run elsewhere. Were it on, its VMs could run twice and destroy their disks.
A failed ping, a hung console or a silent BMC is no reason to confirm: look at the machine, pull
its plugs, or have somebody do it.

The word counts for the host's active failure only, and names you in its record.

examples:
  vmha-manage fence confirm compute-1
"""
ASSERTION = """\
You are about to assert that the power of {host} is OFF, and stays off until its VMs run
elsewhere. If it is not, its VMs can run twice and destroy their disks.
"""


def add_commands(subparsers: Any) -> None:
    """Add `fence list`, `status`, `test`, `timing` and `confirm`."""
    area = subparsers.add_parser("fence", help="see whether hosts can be powered off, and are")
    verbs = area.add_subparsers(metavar="COMMAND", required=True)

    listing = add_verb(verbs, "list", "hosts, their levels and mistakes", LIST)
    status = add_verb(verbs, "status", "read power states", STATUS)
    test = add_verb(verbs, "test", "dry run of everything but powering off", TEST)
    for verb, function in ((listing, _list), (status, _status), (test, _test)):
        verb.add_argument("host", nargs="*", help="service host (default: all in the file)")
        verb.add_argument("--json", action="store_true", help="print JSON")
        verb.set_defaults(func=function)
    for verb in (status, test):
        verb.add_argument(
            "--deadline",
            type=float,
            default=120.0,
            metavar="S",
            help="seconds for one host, all its drivers included (default: %(default)g)",
        )
    test.add_argument(
        "--really", action="store_true", help="power ONE disabled and empty host off and on"
    )
    test.add_argument("--yes", action="store_true", help="with --really: do not ask for its name")

    timing = add_verb(verbs, "timing", "what a watchdog's proof has to wait for", TIMING)
    for name, default, what in (
        ("--watchdog-timeout", 10.0, "the agents' [agent] watchdog_timeout"),
        ("--lease-interval", 2.0, "the agents' [agent] lease_interval"),
        ("--heartbeat-interval", 1.0, "the agents' [agent] heartbeat_interval"),
        ("--margin", 5.0, "'margin' of the driver in the hosts file"),
        ("--wait", None, "'wait' of the driver in the hosts file"),
    ):
        timing.add_argument(name, type=float, default=default, metavar="S", help=what)
    timing.set_defaults(func=_timing)

    confirm = add_verb(verbs, "confirm", "assert that a host is off", CONFIRM)
    confirm.add_argument("host", help="service host that is off")
    confirm.add_argument("--yes", action="store_true", help="do not ask for the name again")
    confirm.add_argument(
        "--although-it-reads-on",
        action="store_true",
        help="confirm against a driver that reads ON, because you know that it is wrong",
    )
    confirm.set_defaults(func=_confirm)


def _fencer(conf: cfg.ConfigOpts) -> Fencer:
    from vmha_remediator.fencing.fencer import Fencer

    def evidence(host: str, seconds: float) -> Sequence[Step]:
        from vmha_remediator.conf import rules
        from vmha_remediator.effects.gnocchi import Gnocchi
        from vmha_remediator.effects.session import make_session

        limits = rules.thresholds(conf)
        return Gnocchi(make_session(conf), conf).history(host, seconds, limits)

    return Fencer(conf, lambda host: None, evidence)


def _hosts(args: argparse.Namespace, fencer: Fencer, conf: cfg.ConfigOpts) -> list[str]:
    hosts = args.host or fencer.hosts()
    if not hosts:
        raise ConfigError(f"{conf.fencing.hosts_file} names no host; add them under 'hosts'")
    return list(hosts)


def _list(args: argparse.Namespace, conf: cfg.ConfigOpts) -> int:
    from vmha_remediator.cmd import fence_rows

    fencer = _fencer(conf)
    found = fencer.listed()
    rows = fence_rows.listed(found, _hosts(args, fencer, conf))
    if args.json:
        output.print_json({"levels": rows, "notes": list(found.notes)})
    else:
        table = [
            (r["host"], r["level"], "+".join(r["drivers"]), r["proves"] or r["problem"])
            for r in rows
        ]
        output.print_table(("HOST", "LEVEL", "DRIVERS", "PROVES"), table)
        for note in found.notes:
            print(note)
    return int(bool(found.notes) or any(row["problem"] for row in rows))


def _status(args: argparse.Namespace, conf: cfg.ConfigOpts) -> int:
    from vmha_remediator.cmd import fence_rows

    fencer = _fencer(conf)
    rows = fence_rows.status(fencer, _hosts(args, fencer, conf), args.deadline)
    if args.json:
        output.print_json(rows)
    else:
        output.print_table(("HOST", "DRIVER", "POWER", "SAYS"), [list(r.values()) for r in rows])
    return int(any(row["says"] for row in rows))


def _test(args: argparse.Namespace, conf: cfg.ConfigOpts) -> int:
    from vmha_remediator.cmd import fence_rows

    fencer = _fencer(conf)
    if args.really:
        rows = _really(args, conf, fencer)
        said = "Powered off and asked to go on again."
    else:
        rows = fence_rows.tested(fencer, _hosts(args, fencer, conf), args.deadline)
        said = "Nothing was powered off. Every driver answered as fencing needs it."
    bad = sorted({row["host"] for row in rows if row["good"] is False})
    if args.json:
        output.print_json(rows)
        return int(bool(bad))
    good = {True: "ok", False: "NO", None: "-"}
    table = [(r["host"], r["driver"] or "-", good[r["good"]], r["finding"]) for r in rows]
    output.print_table(("HOST", "DRIVER", "GOOD", "FINDING"), table)
    print(f"A failure of {', '.join(bad)} could not be fenced as configured." if bad else said)
    return int(bool(bad))


def _really(
    args: argparse.Namespace, conf: cfg.ConfigOpts, fencer: Fencer
) -> list[dict[str, Any]]:
    """Power one host off and on, once everything speaks for it; raises `VmhaError`."""
    from vmha_remediator.cmd import fence_rows
    from vmha_remediator.effects.nova import make_nova

    if len(args.host) != 1:
        raise VmhaError("--really takes exactly one host; nothing was powered off")
    (host,) = args.host
    trouble = fencer.trouble(host)
    if trouble is not None:
        raise ConfigError(trouble)
    store = stores.to_write(conf)
    active = {incident.host: incident.id for incident in store.incidents(active_only=True)}
    nova = make_nova(conf)
    fence_rows.refuse_what_is_used(nova, host, active)
    if not args.yes:
        output.demand(host, f"{host} will be powered OFF and on again. Type its name to go on:")
        fence_rows.refuse_what_is_used(nova, host, active)
    return fence_rows.rehearsed(fencer, host)


def _timing(args: argparse.Namespace, conf: cfg.ConfigOpts) -> int:
    from vmha_remediator.rules import timing

    asked = (args.watchdog_timeout, args.lease_interval, args.heartbeat_interval)
    promised = timing.promise(*asked)
    terms = timing.reset_terms(promised, args.margin)
    needed = timing.waiting(terms, args.wait)
    parts = [*timing.promise_terms(*asked), timing.Wait("= promise", promised, terms[0].why)]
    rows = [(t.name, f"{t.seconds:.1f} s", t.why) for t in (*parts, *terms[1:])]
    rows.append(("= wait", f"{needed:.1f} s", "proven so long after the first silent reading"))
    output.print_table(("TERM", "SECONDS", "WHY"), rows)
    return 0


def _confirm(args: argparse.Namespace, conf: cfg.ConfigOpts) -> int:
    host: str = args.host
    fencer = _fencer(conf)
    _refuse_what_cannot_count(fencer, host)
    _refuse_what_is_on(fencer, host, args.although_it_reads_on)
    print(ASSERTION.format(host=host))
    if not args.yes:
        output.demand(host, f"Type the host's name to confirm that {host} is off:")
    incident = stores.to_write(conf).confirm_fenced(host, output.operator())
    print(f"Noted for incident {incident.id}: {output.operator()} confirms that {host} is off.")
    return 0


def _refuse_what_cannot_count(fencer: Fencer, host: str) -> None:
    trouble = fencer.trouble(host)
    if trouble is not None:
        raise ConfigError(trouble)
    drivers = fencer.drivers(host)
    if not any(driver.partition(":")[0] == "manual" for driver in drivers):
        raise ConfigError(
            f"the drivers of {host} are {', '.join(drivers)}: a confirmation would not be looked "
            "at; add 'manual' to them and confirm again"
        )


def _refuse_what_is_on(fencer: Fencer, host: str, although: bool) -> None:
    """Refuse a word that a machine contradicts, unless the person insists."""
    on = [reading.driver for reading in fencer.powers(host) if reading.power.value == "on"]
    if on and not although:
        raise VmhaError(
            f"{', '.join(on)} reads that {host} is ON; power it off first. If you know that this "
            "reading is wrong, add --although-it-reads-on"
        )
