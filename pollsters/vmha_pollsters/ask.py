# SPDX-License-Identifier: Apache-2.0
"""Asking the local agent over its unix socket."""

from __future__ import annotations

import json
from typing import Any

from vmha_pollsters.line import Line
from vmha_remediator.errors import AgentUnavailable

TIMEOUT = 2.0
MOST_BYTES = 8 << 20


def ask(path: str, operation: str, timeout: float = TIMEOUT, **more: str) -> dict[str, Any]:
    """Return the agent's answer to `operation` ("readings", "status").

    `more` goes into the question (see `report`).
    Raises `AgentUnavailable` when it does not answer in `timeout` seconds, or nonsense.
    """
    line = Line(path, timeout, MOST_BYTES)
    try:
        answer = json.loads(line.ask(json.dumps({"op": operation, **more}).encode()))
    except OSError as exc:
        raise AgentUnavailable(
            f"vmha-agent does not answer on {path}: {exc.strerror or exc}; does it run? "
            "systemctl status vmha-agent"
        ) from exc
    except ValueError as exc:
        raise AgentUnavailable(f"vmha-agent answers nonsense on {path}") from exc
    finally:
        line.close()
    if not isinstance(answer, dict) or "error" in answer:
        raise AgentUnavailable(f"vmha-agent on {path} does not know '{operation}'")
    return answer
