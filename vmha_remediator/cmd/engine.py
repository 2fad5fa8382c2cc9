# SPDX-License-Identifier: Apache-2.0
"""vmha-engine: the engine without the API."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Sequence

from oslo_log import log

from vmha_remediator import conf as configuration
from vmha_remediator.engine.loop import make_engine
from vmha_remediator.errors import VmhaError


def main(argv: Sequence[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT; a second signal does not wait for work under way."""
    args = sys.argv[1:] if argv is None else list(argv)
    stop, doorbell = threading.Event(), threading.Event()
    try:
        conf = configuration.load(args, prog="vmha-engine")
        log.setup(conf, "vmha")
        engine = make_engine(conf)
    except VmhaError as exc:
        print(f"vmha-engine: {exc}", file=sys.stderr)
        return 1

    def on_signal(number: int, _frame: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    engine.run(stop, doorbell)
    return 0


if __name__ == "__main__":
    sys.exit(main())
