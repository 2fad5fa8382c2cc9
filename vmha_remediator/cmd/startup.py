# SPDX-License-Identifier: Apache-2.0
"""What every service does first: options, log, signals, and an end without a traceback."""

from __future__ import annotations

import argparse
import contextlib
import gc
import logging
import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence

from oslo_config import cfg
from oslo_log import log

from vmha_remediator import conf as config
from vmha_remediator import version
from vmha_remediator.cmd.verbs import NO_CONFIG, found_config, top_parser
from vmha_remediator.errors import ConfigError, VmhaError
from vmha_remediator.rules.alarms import redact
from vmha_remediator.signals import on_signals

LOG = logging.getLogger(__name__)

DONE, FAILED = 0, 1
#: Loggers of keystoneauth that print requests and answers at DEBUG.
TALKATIVE = ("keystoneauth.session", "keystoneauth.session.body", "keystoneauth.session.request")
#: Seconds after which a busy thread lets another one go on. The receiver gives way at every system
#: call; with Python's 5 ms each of them would cost it as much while the engine computes.
TURN = 0.0005
#: Seconds between two lines that say that the log cannot be written.
SAY_AGAIN = 60.0


def make_parser(prog: str, description: str, epilog: str) -> argparse.ArgumentParser:
    """Return a parser with the options that every service has."""
    parser = top_parser(prog, description, epilog)
    parser.add_argument("--version", action="version", version=f"%(prog)s {version.installed()}")
    return parser


class _WithoutSignatures(logging.Filter):
    """Aodh's answers hold the addresses that alarms call, and libraries print whole answers."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = redact(record.getMessage()), ()
        return True


class _Lost:
    """Says on standard error that the log takes no lines, now and then and without a traceback.

    A full disk would else fill the journal, too: with a traceback for each line.
    """

    def __init__(self, handler: logging.Handler, clock: Callable[[], float]) -> None:
        self._handler, self._clock = handler, clock
        self._next = -math.inf

    def __call__(self, record: logging.LogRecord) -> None:
        exc = sys.exception()
        if not isinstance(exc, OSError):  # a mistake of ours
            logging.Handler.handleError(self._handler, record)
        elif self._clock() >= self._next:
            self._next = self._clock() + SAY_AGAIN
            with contextlib.suppress(OSError):
                print(
                    f"The log cannot be written: {exc.strerror}; what is done meanwhile is in the "
                    "database ('vmha-manage incident list'), but in no log. Make room",
                    file=sys.stderr,
                )


_WITHOUT_SIGNATURES = _WithoutSignatures()


def setup_log(conf: cfg.ConfigOpts) -> None:
    """Log where [DEFAULT] says; without a word there to standard error, where services do.

    What the files say and nothing reads is logged first. Raises `ConfigError` when there can be
    no log as [DEFAULT] has it.
    """
    if not conf.log_file and not conf.log_dir:
        conf.set_default("use_stderr", True)
    try:
        log.setup(conf, "vmha")
    except (log.LogConfigError, cfg.Error, OSError, ValueError) as exc:
        raise ConfigError(f"[DEFAULT] asks for a log that cannot be: {exc}") from exc
    for handler in logging.getLogger().handlers:
        handler.handleError = _Lost(handler, time.monotonic)  # type: ignore[method-assign]
    for name in TALKATIVE:
        logging.getLogger(name).addFilter(_WITHOUT_SIGNATURES)
    for sentence in config.unread(conf):
        LOG.warning("%s", sentence)


def run(
    parser: argparse.ArgumentParser,
    serve: Callable[[cfg.ConfigOpts], int],
    argv: Sequence[str] | None,
) -> int:
    """Read the configuration, serve, and return the exit status.

    What an operator can put right is said in one line on standard error.
    """
    args = parser.parse_args(argv)
    files = found_config(args)
    try:
        if files is None:  # a database somewhere and no cloud is nobody's wish
            raise ConfigError(NO_CONFIG)
        conf = config.load(prog=parser.prog, config_files=files)
        setup_log(conf)
        return serve(conf)
    except VmhaError as exc:
        print(f"{parser.prog}: {exc}", file=sys.stderr)
        return FAILED


def settle() -> None:
    """Let a storm of alarms be answered evenly; called when everything has been loaded.

    What is there now stays until the end: no collection needs to look at it again, which would
    keep every thread waiting for tens of milliseconds.
    """
    sys.setswitchinterval(TURN)
    gc.collect()
    gc.freeze()


def stop_on_signals(*events: threading.Event) -> None:
    """Set `events` at SIGTERM or SIGINT; a second signal ends the process at once."""

    def stop() -> None:
        for event in events:
            event.set()

    on_signals(dict.fromkeys((signal.SIGTERM, signal.SIGINT), stop), once=True)
