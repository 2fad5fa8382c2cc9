# SPDX-License-Identifier: Apache-2.0
"""vmha-agent: run the agent, ask it, make and inspect its slots area."""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import signal
import sys
from collections.abc import Sequence
from functools import partial

from vmha_remediator import version
from vmha_remediator.errors import VmhaError
from vmha_remediator.signals import on_signals
from vmha_remediator.verb import add_verb

LOG = logging.getLogger(__name__)

#: New objects between two looks of Python for garbage in cycles; its default of 700 costs a
#: witness of many hosts a tenth of its time.
GC_EVERY = 50_000
EPILOG = """\
examples:
  vmha-agent init /shared/vmha/lease --hosts 64 --cluster cloud-1     once, on one host
  vmha-agent                                                          what the unit starts
  vmha-agent status --all                                             whom it hears and sees
  vmha-agent dump /shared/vmha/lease                                  the slots and their ages

exit status: 0 done; 1 it failed, one line on standard error says why; 2 the command was not
understood.
"""

STATUS = """\
Ask the agent of this host who it is, whether it renews its lease, whom it hears, and what keeps it
from being a witness. It changes nothing.

examples:
  vmha-agent status
  vmha-agent status --all
  vmha-agent status --json
"""
INIT = """\
Make the area in which every host has a slot of 4 KiB: once a cluster, on one host. It writes zeros
over the file or device. What holds an area already is refused unless --force is given, and one
that a host renews is refused always (that takes some seconds to see).

examples:
  vmha-agent init /shared/vmha/lease --hosts 64 --cluster cloud-1
  vmha-agent init /dev/mapper/vmha --hosts 64 --cluster cloud-1
"""
FORGET = """\
Free the slot of a host that is gone for good; otherwise its silence counts as a failure for ever.
It writes to the area, on any host; a host that renews its lease is refused.

examples:
  vmha-agent forget /shared/vmha/lease compute-17
"""
DUMP = """\
Show whose area it is, and each slot with its host and the age of its lease. It needs no agent and
changes nothing.

examples:
  vmha-agent dump /shared/vmha/lease
  vmha-agent dump /shared/vmha/lease --json
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status, one clear line on stderr when it fails."""
    args = _parser().parse_args(argv)
    try:
        return int(args.func(args))
    except VmhaError as exc:
        print(f"vmha-agent: {exc}", file=sys.stderr)
    except OSError as exc:
        print(f"vmha-agent: {exc.filename or 'I/O'}: {exc.strerror or exc}", file=sys.stderr)
    except KeyboardInterrupt:
        print("vmha-agent: interrupted", file=sys.stderr)
        return 130
    except (KeyError, TypeError, AttributeError) as exc:
        if args.func is run or args.func is feed_watchdog:
            raise  # a daemon's: it belongs into the log
        what = f"{type(exc).__name__}: {exc}"
        print(f"vmha-agent: not understood: {what}; are both of one release?", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="vmha-agent",
        description="Run the agent of this host, ask it, make and inspect the slots area.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--config-file", metavar="FILE", help="configuration (default: /etc/vmha/agent.conf)"
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version.installed()}")
    parser.set_defaults(func=run)
    verbs = parser.add_subparsers(metavar="COMMAND")
    verbs.add_parser("run", help="run the agent (the default)").set_defaults(func=run)

    verbs.add_parser(
        "watchdog", help="feed this host's watchdog; runs beside the agent and outlives it"
    ).set_defaults(func=feed_watchdog)

    status = add_verb(verbs, "status", "ask the running agent what it knows", STATUS)
    status.add_argument("--json", action="store_true", help="as JSON")
    status.add_argument(
        "--all", action="store_true", help="all peers, not only those that are not well"
    )
    status.add_argument("--socket", metavar="PATH", help="its socket (default: as configured)")
    status.set_defaults(func=show_status)

    init = add_verb(verbs, "init", "make a slots area on shared storage", INIT)
    init.add_argument("path", help="file or block device")
    init.add_argument(
        "--hosts", type=int, required=True, metavar="N", help="number of slots, at most 2000"
    )
    init.add_argument("--cluster", required=True, metavar="NAME", help="whose area it is")
    init.add_argument(
        "--force", action="store_true", help="overwrite what is there, if no host renews it"
    )
    init.set_defaults(func=make_area)

    forget = add_verb(verbs, "forget", "free the slot of a host that is gone for good", FORGET)
    forget.add_argument("path", help="file or block device")
    forget.add_argument("host", help="its name")
    forget.set_defaults(func=forget_host)

    dump = add_verb(verbs, "dump", "show what is in a slots area", DUMP)
    dump.add_argument("path", help="file or block device")
    dump.add_argument("--json", action="store_true", help="as JSON")
    dump.set_defaults(func=show_area)
    return parser


def run(args: argparse.Namespace) -> int:
    """Run the agent until SIGTERM or SIGINT; SIGHUP has it read its keys anew."""
    from vmha_pollsters import conf as configuration
    from vmha_pollsters.agent import report
    from vmha_pollsters.agent.daemon import Agent
    from vmha_pollsters.agent.server import Desk

    conf = configuration.load(args.config_file)
    settings = conf[configuration.GROUP]
    logging.basicConfig(
        level=settings.log_level,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    for sentence in configuration.unread(conf):
        LOG.warning("%s", sentence)
    agent = Agent(conf)
    on_signals(
        {
            signal.SIGTERM: agent.stop.set,
            signal.SIGINT: agent.stop.set,
            signal.SIGHUP: lambda: setattr(agent, "reread_keys", True),
        }
    )
    desk = Desk(
        settings.socket,
        {"readings": partial(report.readings, agent), "status": partial(report.status, agent)},
    )
    # What is here by now stays, and what comes later has no cycles worth looking for every second.
    gc.freeze()
    gc.set_threshold(GC_EVERY)
    LOG.info("agent of %s starts", agent.host)
    agent.run()
    desk.close()
    LOG.info("agent of %s stops", agent.host)
    logging.shutdown()
    os._exit(0)  # a thread that hangs in storage I/O must not keep the process


def feed_watchdog(args: argparse.Namespace) -> int:
    """Feed the watchdog until SIGTERM or SIGINT, and until nobody relies on it any more."""
    from vmha_pollsters import conf as configuration
    from vmha_pollsters.agent.storage.slotfile import SlotFile
    from vmha_pollsters.agent.watchdog import feeder
    from vmha_pollsters.agent.watchdog.promise import SlotPromise

    conf = configuration.load(args.config_file)
    settings = conf[configuration.GROUP]
    logging.basicConfig(
        level=settings.log_level,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    promise = SlotPromise(
        SlotFile(configuration.require(conf, "lease_path")),
        configuration.require(conf, "cluster"),
        configuration.host_name(conf),
        configuration.read_boot_id(conf),
    )
    feeds = feeder.Feeder(
        feeder.load_driver(settings),
        promise,
        settings.lease_interval,
        settings.heartbeat_interval,
    )
    on_signals(dict.fromkeys((signal.SIGTERM, signal.SIGINT), feeds.stop.set))
    feeder.harden()
    feeder.Ear(settings.watchdog_socket, feeds)
    feeds.run()
    logging.shutdown()
    os._exit(0)  # a thread that hangs in storage I/O must not keep the process


def show_status(args: argparse.Namespace) -> int:
    """Print what the running agent knows."""
    from vmha_pollsters import conf as configuration
    from vmha_pollsters.agent import text
    from vmha_pollsters.ask import ask

    path = args.socket or configuration.load(args.config_file)[configuration.GROUP].socket
    data = ask(path, "status")
    print(json.dumps(data, indent=2) if args.json else text.status(data, everybody=args.all))
    return 0


def make_area(args: argparse.Namespace) -> int:
    """Format a slots area."""
    from vmha_pollsters.agent import area

    header = area.init(args.path, args.hosts, args.cluster, args.force)
    print(f"{args.path}: slots for {header.hosts} hosts of cluster '{header.cluster}'")
    return 0


def forget_host(args: argparse.Namespace) -> int:
    """Free a slot, so that its host is not reported as failed for ever."""
    from vmha_pollsters.agent import area

    number = area.forget(args.path, args.host)
    print(f"{args.path}: slot {number} of host '{args.host}' is free")
    return 0


def show_area(args: argparse.Namespace) -> int:
    """Print what is in a slots area."""
    from vmha_pollsters.agent import area, text

    data = area.dump(args.path)
    print(json.dumps(data, indent=2) if args.json else text.dump(data))
    return 0


if __name__ == "__main__":
    sys.exit(main())
