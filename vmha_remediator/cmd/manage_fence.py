# SPDX-License-Identifier: Apache-2.0
"""vmha-manage fence: can each host be powered off, and is it off?"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vmha_remediator.cmd import output
from vmha_remediator.cmd.verbs import add_verb
from vmha_remediator.errors import ConfigError, VmhaError

if TYPE_CHECKING:
    from oslo_config import cfg

    from vmha_remediator.fencing.fencer import Fencer
    from vmha_remediator.rules.starved import Step

STATUS = """\
Read every host's power state from its fencing drivers. Nothing is changed.

examples:
  vmha-manage fence status
  vmha-manage fence status compute-1 --json

exit status: 0 every host was read; 1 one could not be.
"""
TEST = """\
Try everything that powering a host off needs, without powering anything off: the hosts file,
the credentials, the BMC's certificate, the system's identity, and whether ForceOff is offered.
Run it for every host before the first failure does.

examples:
  vmha-manage fence test compute-1
  vmha-manage fence test            (all hosts in the file)

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
    """Add `fence status`, `fence test` and `fence confirm`."""
    area = subparsers.add_parser("fence", help="see whether hosts can be powered off, and are")
    verbs = area.add_subparsers(metavar="COMMAND", required=True)

    status = add_verb(verbs, "status", "read power states", STATUS)
    status.add_argument("host", nargs="*", help="service host (default: all in the file)")
    status.add_argument("--json", action="store_true", help="print JSON")
    status.set_defaults(func=_status)

    test = add_verb(verbs, "test", "dry run of everything but powering off", TEST)
    test.add_argument("host", nargs="*", help="service host (default: all in the file)")
    test.set_defaults(func=_test)

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


def _status(args: argparse.Namespace, conf: cfg.ConfigOpts) -> int:
    fencer = _fencer(conf)
    rows = []
    for host in _hosts(args, fencer, conf):
        trouble = fencer.trouble(host)
        if trouble is not None:
            rows.append({"host": host, "driver": None, "power": "unknown", "says": trouble})
        for reading in fencer.powers(host):
            says = "" if reading.ok else reading.sentence
            rows.append(
                {
                    "host": host,
                    "driver": reading.driver,
                    "power": reading.power.value,
                    "says": says,
                }
            )
    if args.json:
        output.print_json(rows)
    else:
        output.print_table(("HOST", "DRIVER", "POWER", "SAYS"), [list(r.values()) for r in rows])
    return int(any(row["says"] for row in rows))


def _test(args: argparse.Namespace, conf: cfg.ConfigOpts) -> int:
    fencer = _fencer(conf)
    rows: list[tuple[str, str, str, str]] = []
    for host in _hosts(args, fencer, conf):
        trouble = fencer.trouble(host)
        if trouble is not None:
            rows.append((host, "-", "NO", trouble))
        for driver, findings in fencer.check(host).items():
            rows += [(host, driver, "ok" if f.ok else "NO", f.what) for f in findings]
    output.print_table(("HOST", "DRIVER", "GOOD", "FINDING"), rows)
    bad = sorted({row[0] for row in rows if row[2] == "NO"})
    if bad:
        print(f"A failure of {', '.join(bad)} could not be fenced as configured.")
        return 1
    print("Nothing was powered off. Every driver answered as fencing needs it.")
    return 0


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
    from vmha_remediator.store import open_store

    host: str = args.host
    fencer = _fencer(conf)
    _refuse_what_cannot_count(fencer, host)
    _refuse_what_is_on(fencer, host, args.although_it_reads_on)
    print(ASSERTION.format(host=host))
    if not args.yes:
        output.demand(host, f"Type the host's name to confirm that {host} is off:")
    incident = open_store(conf).confirm_fenced(host, output.operator())
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
