# SPDX-License-Identifier: Apache-2.0
"""The doorbell: an alarm says "look at this host now", and nothing more.

Whatever a webhook's body claims is never acted on; the engine reads the measures itself.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from flask import Blueprint, Response, jsonify, request
from oslo_log import log

from vmha_remediator.api.caller import CONFIRMED, STATUS
from vmha_remediator.api.problem import Problem, Refused
from vmha_remediator.errors import VmhaError
from vmha_remediator.rules import signing, vm_rule

LOG = log.getLogger(__name__)

#: Seconds after which a client may try again when the database is away.
RETRY_AFTER = 5
#: Seconds without a call after which the next one is news again.
SILENCE = 60.0
#: A rule's name, as the rule files have it.
RULE = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
#: A Nova service host: printable ASCII without a separator; at most the database's 255.
HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:@+-]{0,254}")
#: A Nova server's id.
SERVER = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
#: The states that Aodh knows; anything else in a body is not worth repeating in a log.
STATES = ("ok", "alarm", "insufficient data")

NO_SIGNATURE = Problem(
    401,
    "no-signature",
    "the address has no signature",
    "use the address that 'vmha-manage alarms sync' puts into the alarm, or call by trust",
    {"WWW-Authenticate": 'Signature realm="vmha"'},
)
BAD_SIGNATURE = Problem(
    403,
    "bad-signature",
    "the signature does not fit this rule and host",
    "if the key was changed, run 'vmha-manage alarms sync'",
)
BAD_NAME = Problem(
    400, "bad-name", "the rule or the host is no possible name", "check how the address was made"
)
BAD_SERVER = Problem(400, "bad-name", "this is no server's id", "check how the address was made")
UNKNOWN_RULE = Problem(
    404,
    "unknown-rule",
    "no rule file has this name",
    "run 'vmha-manage alarms sync' to remove the alarms of rules that are gone",
)
UNKNOWN_HOST = Problem(
    404,
    "unknown-host",
    "no such host publishes measures",
    "run 'vmha-manage alarms sync' to remove the alarms of hosts that are gone",
)
BAD_JSON = Problem(
    400, "bad-json", "the body is no JSON object", "send the notification as Aodh makes it"
)
STORE_AWAY = Problem(
    503,
    "store-unavailable",
    "the database cannot be written now",
    "nothing is lost: the engine also lists alarms by itself",
    {"Retry-After": str(RETRY_AFTER)},
)


@dataclass(frozen=True)
class Call:
    """What a webhook brings along, whichever way it came in."""

    signature: str | None
    #: Keystone was asked about its token, and knows it.
    confirmed: bool
    #: Read only once the call is known to be genuine.
    body: Callable[[], bytes]


@dataclass(frozen=True)
class Receiver:
    """What a webhook is checked against, and the bell that it rings."""

    keys: tuple[bytes, ...]
    rules: Collection[str]
    known_host: Callable[[str], bool]
    ring: Callable[[str, str], None]
    clock: Callable[[], float] = time.monotonic
    #: Tokens are checked before a request gets here; else nobody may believe what it claims.
    tokens: bool = False
    _told: dict[tuple[str, str], float] = field(default_factory=dict)

    def blueprint(self) -> Blueprint:
        """Return the route."""
        blueprint = Blueprint("webhook", __name__)
        for path, view in (
            ("/v1/alarms/<rule>/<host>", self._alarm),
            (f"{vm_rule.PATH}/<server_id>", self._vm),
        ):
            blueprint.add_url_rule(
                path, view_func=view, methods=["POST"], provide_automatic_options=False
            )
        return blueprint

    def _alarm(self, rule: str, host: str) -> tuple[Response, int]:
        return jsonify(self.receive(rule, host, _call())), 202

    def _vm(self, server_id: str) -> tuple[Response, int]:
        return jsonify(self.receive_vm(server_id, _call())), 202

    def receive(self, rule: str, host: str, call: Call) -> dict[str, dict[str, str]]:
        """Check one webhook, ring, and return what was accepted; raises `Refused`."""
        self._check_signature(rule, host, call)
        self._check_names(rule, host)
        self._ring(rule, host, call)
        return {"accepted": {"rule": rule, "host": host}}

    def receive_vm(self, server_id: str, call: Call) -> dict[str, dict[str, str]]:
        """Check the webhook of an alarm on one VM, and ring; raises `Refused`."""
        self._check_signature(vm_rule.PATH, server_id, call)
        if not SERVER.fullmatch(server_id):
            raise Refused(BAD_SERVER)
        self._ring(vm_rule.RULE, server_id, call)
        return {"accepted": {"rule": vm_rule.RULE, "server": server_id}}

    def _ring(self, rule: str, subject: str, call: Call) -> None:
        current = _current_state(call.body())
        try:
            self.ring(rule, subject)
        except VmhaError as exc:
            raise Refused(STORE_AWAY) from exc
        tell = LOG.info if self._is_news(rule, subject) else LOG.debug
        tell("Alarm %s of %s rang, saying %r; the engine looks", rule, subject, current)

    def _is_news(self, rule: str, host: str) -> bool:
        """Tell whether this alarm has been silent: a standing one calls every few seconds."""
        now, before = self.clock(), self._told.get((rule, host))
        self._told[rule, host] = now
        return before is None or now - before > SILENCE

    def _check_signature(self, rule: str, host: str, call: Call) -> None:
        """Come first, so that a stranger learns nothing about rules and hosts.

        An alarm that calls by trust (`trust+https://`) has no signature, but a token of whoever
        made it. Any user's will do: all that a webhook can cause is one look.
        """
        if not call.signature:
            if self.tokens and call.confirmed:
                return
            raise Refused(NO_SIGNATURE)
        if not signing.verify(self.keys, rule, host, call.signature):
            raise Refused(BAD_SIGNATURE)

    def _check_names(self, rule: str, host: str) -> None:
        """Refuse also a signed name that could mean two things in the signature or a log."""
        if not RULE.fullmatch(rule) or not HOST.fullmatch(host):
            raise Refused(BAD_NAME)
        if rule not in self.rules:
            raise Refused(UNKNOWN_RULE)
        if not self.known_host(host):
            raise Refused(UNKNOWN_HOST)


def _call() -> Call:
    return Call(
        signature=request.args.get("sig"),
        confirmed=request.environ.get(STATUS) == CONFIRMED,
        body=lambda: request.get_data(cache=False),
    )


def _current_state(raw: bytes) -> str:
    """Return the state that the body claims, for the log line only; raises `Refused`."""
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError) as exc:
        raise Refused(BAD_JSON) from exc
    if not isinstance(document, dict):
        raise Refused(BAD_JSON)
    current = document.get("current")
    return current if current in STATES else "nothing known"
