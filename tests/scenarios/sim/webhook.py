# SPDX-License-Identifier: Apache-2.0
"""The real receiver of webhooks, for what comes over the network from strangers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Flask, Response

from vmha_remediator.api.problem import Refused
from vmha_remediator.api.webhook import Receiver
from vmha_remediator.rules import signing

if TYPE_CHECKING:
    from tests.scenarios.sim.world import World

KEY = b"the key of the webhooks, long enough"


def post(world: World, rule: str, host: str, signature: str) -> str:
    """Return the answer to a webhook that is genuine, unsigned, made-up or of-another-host."""
    signatures = {
        "genuine": signing.sign(KEY, rule, host),
        "unsigned": "",
        "made-up": signing.sign(b"a stranger's key, as long as ours is", rule, host),
        "of-another-host": signing.sign(KEY, rule, f"not-{host}"),
    }
    receiver = Receiver(
        keys=(KEY,),
        rules={template.name for template in world.rules},
        known_host=world.hosts.__contains__,
        ring=lambda rung, name: world.control.ring(rung, name, "webhook"),
        clock=lambda: world.clockwork.now,
    )
    app = Flask("vmha")
    app.register_blueprint(receiver.blueprint())
    app.register_error_handler(Refused, _refuse)
    given = {"sig": signatures[signature]} if signatures[signature] else {}
    answer = app.test_client().post(
        f"/v1/alarms/{rule}/{host}", query_string=given, json={"current": "alarm"}
    )
    why = f": {answer.get_json()['error']['reason']}" if answer.status_code != 202 else ""
    return f"answers {answer.status_code} to {rule} of {host}{why}"


def _refuse(refused: Refused) -> Response:
    return refused.problem.response()
