# SPDX-License-Identifier: Apache-2.0
"""vmha-agent whose storage hangs for as long as the file $VMHA_TEST_GATE exists."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vmha_pollsters.agent.main import main

GATE = Path(os.environ["VMHA_TEST_GATE"])


def hang_while_closed(call: Callable[..., Any]) -> Callable[..., Any]:
    """Return `call`, which does not return while the gate is closed, as a hung mount would."""

    def gated(*args: Any, **kwargs: Any) -> Any:
        while GATE.exists():
            time.sleep(0.05)
        return call(*args, **kwargs)

    return gated


if __name__ == "__main__":
    os.preadv = hang_while_closed(os.preadv)
    os.pwritev = hang_while_closed(os.pwritev)
    sys.exit(main())
