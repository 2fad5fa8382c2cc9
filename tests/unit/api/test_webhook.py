# SPDX-License-Identifier: Apache-2.0
"""The webhook: who is let in, who is refused, and that nothing else happens."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from oslo_config import cfg

from tests.unit.api.conftest import KEY, Bell, path
from vmha_remediator.api import door, problem
from vmha_remediator.api.app import create_app
from vmha_remediator.api.webhook import SILENCE, Receiver
from vmha_remediator.errors import ConfigError, StoreUnavailable
from vmha_remediator.rules import signing, vm_rule

#: As Aodh 23 sends it.
NOTIFICATION = {
    "severity": "critical",
    "alarm_name": "vmha:failure:h1",
    "current": "alarm",
    "previous": "ok",
    "reason": "Composite rule alarm with composition form ...",
    "reason_data": {"type": "composite", "composition_form": "..."},
    "alarm_id": "7a6e1e5e-4a5c-4a3a-8e0a-8c5f9f3d1b2c",
}
BODY = json.dumps(NOTIFICATION).encode()


@pytest.fixture
def client(conf: cfg.ConfigOpts, bell: Bell) -> FlaskClient:
    known = {"h1", "h2", "compute-1.example.org"}
    return create_app(conf, bell.ring, known_host=known.__contains__).test_client()


VM = "8f7d5c1e-0000-4000-8000-000000000001"


class TestAnAlarmOnAVm:
    def test_rings_for_its_vm(self, client: FlaskClient, bell: Bell) -> None:
        answer = client.post(vm_rule.webhook_url("", KEY, VM), data=BODY)

        assert answer.status_code == 202
        assert answer.json == {"accepted": {"rule": "vm-failure", "server": VM}}
        assert bell.rung == [("vm-failure", VM)]

    @pytest.mark.parametrize(
        ("url", "status"),
        [
            (f"/v1/vms/{VM}", 401),
            (f"/v1/vms/{VM}?sig=forged", 403),
            (vm_rule.webhook_url("", b"another key of sixteen", VM), 403),
            (f"/v1/vms/{VM}?sig={signing.sign(KEY, 'failure', VM)}", 403),
            (f"/v1/alarms/failure/{VM}?sig={signing.sign(KEY, vm_rule.PATH, VM)}", 403),
            (vm_rule.webhook_url("", KEY, "h1"), 400),
            (vm_rule.webhook_url("", KEY, VM.upper()), 400),
        ],
    )
    def test_is_refused_when_it_is_not_genuine(
        self, client: FlaskClient, bell: Bell, url: str, status: int
    ) -> None:
        assert client.post(url, data=BODY).status_code == status
        assert bell.rung == []

    @pytest.mark.parametrize(
        ("tokens", "status", "answer"),
        [(True, "Confirmed", 202), (True, "Invalid", 401), (False, "Confirmed", 401)],
    )
    def test_may_bring_a_token_instead_where_tokens_are_checked(
        self, bell: Bell, tokens: bool, status: str, answer: int
    ) -> None:
        receiver = Receiver((KEY,), {"failure"}, lambda host: True, bell.ring, tokens=tokens)
        app = Flask("vmha")
        app.register_blueprint(receiver.blueprint())
        problem.register(app)
        known = {"HTTP_X_IDENTITY_STATUS": status}
        for called in (f"/v1/vms/{VM}", "/v1/alarms/failure/h1"):
            given = app.test_client().post(called, data=BODY, environ_overrides=known)
            assert given.status_code == answer
        forged = app.test_client().post(f"/v1/vms/{VM}?sig=x", environ_overrides=known)
        assert forged.status_code == 403

    def test_is_asked_to_come_again_while_the_database_is_away(
        self, client: FlaskClient, bell: Bell
    ) -> None:
        bell.trouble = StoreUnavailable("away")
        answer = client.post(vm_rule.webhook_url("", KEY, VM), data=BODY)
        assert answer.status_code == 503


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name.startswith("vmha_remediator")]


class TestAGenuineAlarm:
    def test_rings_once_and_is_told_so(self, client: FlaskClient, bell: Bell) -> None:
        answer = client.post(path("failure", "h1"), data=BODY)

        assert answer.status_code == 202
        assert answer.json == {"accepted": {"rule": "failure", "host": "h1"}}
        assert bell.rung == [("failure", "h1")]

    def test_leaves_one_log_line_without_its_signature(
        self, client: FlaskClient, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)

        client.post(path("failure", "h1"), data=BODY)

        assert lines(caplog) == ["Alarm failure of h1 rang, saying 'alarm'; the engine looks"]

    def test_that_goes_on_calling_does_not_fill_the_log(
        self, client: FlaskClient, bell: Bell, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)

        for host in ("h1", "h1", "h2", "h1"):
            client.post(path("failure", host), data=BODY)

        assert len(bell.rung) == 4
        assert [line.split()[3] for line in lines(caplog)] == ["h1", "h2"]

    @pytest.mark.parametrize("kind", ["application/json", "text/plain", "", "nonsense"])
    def test_may_call_its_body_what_it_likes(
        self, client: FlaskClient, bell: Bell, kind: str
    ) -> None:
        client.post(path("partition", "h2"), data=BODY, content_type=kind)

        assert bell.rung == [("partition", "h2")]

    @pytest.mark.parametrize("claim", ["ok", "insufficient data", "on fire\nroot: evil", 7, None])
    def test_rings_whatever_state_it_claims_and_the_log_repeats_only_known_ones(
        self,
        client: FlaskClient,
        bell: Bell,
        caplog: pytest.LogCaptureFixture,
        claim: object,
    ) -> None:
        caplog.set_level(logging.INFO)

        client.post(path("failure", "h1"), data=json.dumps({"current": claim}).encode())

        assert bell.rung == [("failure", "h1")]
        assert "evil" not in caplog.text

    def test_made_with_the_key_before_is_still_heard(
        self, conf: cfg.ConfigOpts, bell: Bell, tmp_path: Path
    ) -> None:
        old = tmp_path / "old.key"
        old.write_bytes(b"an older secret, long enough")
        conf.set_override("previous_key_file", str(old), group="webhook")

        url = path("failure", "h1", key=b"an older secret, long enough")
        answer = create_app(conf, bell.ring).test_client().post(url, data=BODY)

        assert answer.status_code == 202

    def test_that_cannot_be_stored_is_told_when_to_come_back(
        self, client: FlaskClient, bell: Bell, caplog: pytest.LogCaptureFixture
    ) -> None:
        bell.trouble = StoreUnavailable("database: connection refused")

        answer = client.post(path("failure", "h1"), data=BODY)

        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
        assert len(lines(caplog)) == 1


class TestTheShortWay:
    @pytest.mark.parametrize(
        ("method", "called", "query", "headers", "quick"),
        [
            ("POST", "/v1/alarms/failure/h1", "sig=x", set(), True),
            ("POST", "/v1/alarms/failure/h1", "", set(), True),
            ("POST", f"/v1/vms/{VM}", "sig=x", {"HTTP_X_AUTH_TOKEN"}, True),
            ("POST", f"/v1/vms/{VM}", "", {"HTTP_X_AUTH_TOKEN"}, False),
            ("POST", f"/v1/vms/{VM}", "", {"HTTP_X_SERVICE_TOKEN"}, False),
            ("POST", f"/v1/vms/{VM}", "", {"HTTP_COOKIE"}, False),
            ("GET", "/v1/alarms/failure/h1", "sig=x", set(), False),
            ("POST", "/v1/hosts/h1/release", "sig=x", set(), False),
        ],
    )
    def test_is_only_for_what_waits_for_nobody(
        self, method: str, called: str, query: str, headers: set[str], quick: bool
    ) -> None:
        assert door.is_quick(method, called, query, headers) is quick

    @pytest.mark.parametrize("suffix", ["", "&more=1"])
    def test_answers_as_the_long_one_does(
        self, client: FlaskClient, bell: Bell, suffix: str
    ) -> None:
        good = client.post(path("failure", "h1") + suffix, data=BODY)
        bad = client.post(f"/v1/alarms/failure/h1?sig={FORGED}{suffix}", data=BODY)

        assert (good.status_code, good.json) == (
            202, {"accepted": {"rule": "failure", "host": "h1"}},
        )  # fmt: skip
        assert bad.json is not None
        assert (bad.status_code, bad.json["error"]["code"]) == (403, "bad-signature")
        assert good.content_type == bad.content_type == "application/json"


class TestNews:
    def test_a_call_after_a_silence_is_news_again(self) -> None:
        now = [0.0]
        receiver = Receiver((KEY,), (), lambda host: True, lambda *_: None, lambda: now[0])

        seen = []
        for now[0] in (0.0, 2.0, 4.0, 4.0 + SILENCE, 5.0 + 2 * SILENCE):
            seen.append(receiver._is_news("failure", "h1"))

        assert seen == [True, False, False, False, True]


@dataclass(frozen=True)
class Refusal:
    """A request that must be refused, and how."""

    name: str
    status: int
    code: str
    url: str = path("failure", "h1")
    method: str = "POST"
    body: bytes = BODY
    headers: dict[str, str] = field(default_factory=dict)


FORGED = "0" * 64
REFUSALS = [
    Refusal("no signature", 401, "no-signature", url="/v1/alarms/failure/h1"),
    Refusal("empty signature", 401, "no-signature", url="/v1/alarms/failure/h1?sig="),
    Refusal("forged", 403, "bad-signature", url=f"/v1/alarms/failure/h1?sig={FORGED}"),
    Refusal("no ASCII", 403, "bad-signature", url="/v1/alarms/failure/h1?sig=%C3%A4%00"),
    Refusal(
        "another key",
        403,
        "bad-signature",
        url=path("failure", "h1", key=b"somebody else's secret"),
    ),
    Refusal(
        "signature of another rule",
        403,
        "bad-signature",
        url=f"/v1/alarms/failure/h1?sig={signing.sign(KEY, 'partition', 'h1')}",
    ),
    Refusal(
        "signature of another host",
        403,
        "bad-signature",
        url=f"/v1/alarms/failure/h1?sig={signing.sign(KEY, 'failure', 'h2')}",
    ),
    Refusal(
        "truncated signature",
        403,
        "bad-signature",
        url=f"/v1/alarms/failure/h1?sig={signing.sign(KEY, 'failure', 'h1')[:-1]}",
    ),
    Refusal("unknown rule", 404, "unknown-rule", url=path("meltdown", "h1")),
    Refusal("unknown host", 404, "unknown-host", url=path("failure", "h9")),
    Refusal("newline in the host", 400, "bad-name", url=path("failure", "h1\nh2")),
    Refusal("newline in the rule", 400, "bad-name", url=path("failure\nh1", "h2")),
    Refusal("very long host", 400, "bad-name", url=path("failure", "h" * 256)),
    Refusal("dots as host", 400, "bad-name", url=path("failure", "..")),
    Refusal("empty body", 400, "bad-json", body=b""),
    Refusal("half a body", 400, "bad-json", body=BODY[:-5]),
    Refusal("a list", 400, "bad-json", body=b"[]"),
    Refusal("no UTF-8", 400, "bad-json", body=b'{"current": "\xff\xfe"}'),
    Refusal("nested without end", 400, "bad-json", body=b"[" * 50000),
    Refusal("a number without end", 400, "bad-json", body=b'{"a": ' + b"9" * 60000 + b"}"),
    Refusal("too long", 413, "body-too-large", body=b'{"a": "' + b"x" * 70000 + b'"}'),
    Refusal("GET", 405, "method-not-allowed", method="GET"),
    Refusal("PUT", 405, "method-not-allowed", method="PUT"),
    Refusal("DELETE", 405, "method-not-allowed", method="DELETE"),
    Refusal("OPTIONS", 405, "method-not-allowed", method="OPTIONS"),
    Refusal("no host", 404, "not-found", url="/v1/alarms/failure"),
    Refusal("nowhere", 404, "not-found", url="/etc/passwd%0AFAKE LINE"),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda r: r.name)
def test_a_refusal_is_clear_leaves_one_line_and_does_nothing(
    client: FlaskClient, bell: Bell, caplog: pytest.LogCaptureFixture, refusal: Refusal
) -> None:
    caplog.set_level(logging.DEBUG)

    answer = client.open(
        refusal.url, method=refusal.method, data=refusal.body, headers=refusal.headers
    )

    assert answer.status_code == refusal.status
    assert answer.json is not None
    assert set(answer.json) == {"error"}
    assert set(answer.json["error"]) == {"code", "reason", "way_out"}
    assert all(answer.json["error"].values())
    assert answer.json["error"]["code"] == refusal.code
    assert bell.rung == []
    (line,) = lines(caplog)
    assert str(refusal.status) in line and "\n" not in line
    signature = refusal.url.partition("sig=")[2]
    if signature:
        assert signature not in line and signature not in answer.text


def test_a_wrong_method_is_told_the_right_one(client: FlaskClient) -> None:
    assert client.get(path("failure", "h1")).headers["Allow"] == "POST"


def test_a_missing_signature_is_answered_with_a_challenge(client: FlaskClient) -> None:
    assert client.post("/v1/alarms/failure/h1").headers["WWW-Authenticate"].startswith("Signature")


def test_a_full_name_is_a_host_too(client: FlaskClient, bell: Bell) -> None:
    client.post(path("failure", "compute-1.example.org"), data=BODY)

    assert bell.rung == [("failure", "compute-1.example.org")]


def test_a_fault_of_ours_is_told_without_a_traceback(
    conf: cfg.ConfigOpts, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(rule: str, host: str) -> None:
        raise RuntimeError("a bug with a secret in it")

    answer = create_app(conf, broken).test_client().post(path("failure", "h1"), data=BODY)

    assert answer.status_code == 500
    assert answer.json is not None and answer.json["error"]["code"] == "internal"
    assert "look whether it was done" in answer.json["error"]["way_out"], "it may have been"
    assert "secret" not in answer.text and "Traceback" not in answer.text


def test_the_health_check_answers_without_a_signature(client: FlaskClient) -> None:
    assert client.get("/healthcheck").json == {"status": "ok"}


def test_a_missing_key_file_is_named(conf: cfg.ConfigOpts, bell: Bell) -> None:
    conf.set_override("key_file", "/nonexistent/webhook.key", group="webhook")

    with pytest.raises(ConfigError, match=r"/nonexistent/webhook\.key: No such file"):
        create_app(conf, bell.ring)
