# SPDX-License-Identifier: Apache-2.0
"""vmha-manage: everything that an operator does by hand."""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import pkgutil
import sys
from collections.abc import Callable, Sequence

from vmha_remediator import cmd, version
from vmha_remediator.cmd.verbs import NO_CONFIG, found_config, top_parser
from vmha_remediator.errors import ConfigError, VmhaError

PROG = "vmha-manage"
#: Set in the environment, an error of our own is shown with its traceback.
DEBUG = "VMHA_DEBUG"
OWN_ERROR = "an error of its own"
REPORT_IT = f"report it, with what {DEBUG}=1 shows"
DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130
EPILOG = """\
examples:
  vmha-manage telemetry setup             prepare Gnocchi, once
  vmha-manage alarms lint                 can the rules be trusted?
  vmha-manage alarms sync --dry-run       what would change in Aodh?
  vmha-manage --config-file my.conf alarms list

exit status: 0 done; 1 it failed or something was found, one line on standard error says what;
2 the command was not understood.
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the command line, made of every module named manage_* beside this one."""
    parser = top_parser(
        PROG,
        "Look after VM high availability: telemetry, alarms, fencing, incidents.",
        EPILOG,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version.installed()}")
    subparsers = parser.add_subparsers(metavar="AREA", required=True)
    for name in sorted(module.name for module in pkgutil.iter_modules(cmd.__path__)):
        if name.startswith("manage_"):
            importlib.import_module(f"{cmd.__name__}.{name}").add_commands(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; no traceback reaches the operator."""
    args = build_parser().parse_args(argv)
    # It would warn of a Keystone that is away before our own sentence says so.
    logging.getLogger("keystoneauth").setLevel(logging.ERROR)
    files = found_config(args)
    func: Callable[..., int] = args.func
    try:
        from vmha_remediator import conf  # heavy, and needless for --help

        loaded = conf.load(prog=PROG, config_files=files)
        for sentence in conf.unread(loaded):
            print(f"{PROG}: {sentence}", file=sys.stderr)
        return func(args, loaded)
    except VmhaError as exc:
        hint = f"; {NO_CONFIG}" if files is None and isinstance(exc, ConfigError) else ""
        print(f"{PROG}: {exc}{hint}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print(f"{PROG}: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        return FAILED
    except Exception as exc:  # the terminal's rim
        if DEBUG in os.environ:
            raise
        what = f"{type(exc).__name__}: {exc}"
        print(f"{PROG}: {OWN_ERROR}: {what}; {REPORT_IT}", file=sys.stderr)
        return FAILED


if __name__ == "__main__":
    sys.exit(main())
