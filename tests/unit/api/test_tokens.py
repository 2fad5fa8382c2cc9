# SPDX-License-Identifier: Apache-2.0
"""Callers with tokens: keystonemiddleware's own fixture stands for Keystone."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import certifi
import pytest
from flask.testing import FlaskClient
from keystonemiddleware.fixture import AuthTokenFixture
from oslo_config import cfg

from tests.unit.api.cloud import Cloud
from tests.unit.api.conftest import KEY, Bell, path
from vmha_remediator import conf as config
from vmha_remediator.api.app import create_app
from vmha_remediator.api.backend import Backend
from vmha_remediator.rules.model import Thresholds
from vmha_remediator.store import Store, open_store


@pytest.fixture
def keystone() -> Iterator[AuthTokenFixture]:
    with AuthTokenFixture() as fixture:
        yield fixture


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    loaded = config.load(config_files=[])
    loaded.set_override("connection", f"sqlite:///{tmp_path}/vmha.sqlite", group="database")
    opened = open_store(loaded)
    yield opened
    opened.close()


LOGIN = f"""
[cloud]
auth_type = password
auth_url = http://keystone.invalid/v3
username = vmha
password = secret
timeout = 2.5
cafile = {certifi.where()}
"""


@pytest.fixture
def conf(tmp_path: Path) -> cfg.ConfigOpts:
    (tmp_path / "webhook.key").write_bytes(KEY)
    file = tmp_path / "vmha.conf"
    file.write_text(f"[webhook]\nkey_file = {tmp_path}/webhook.key\n{LOGIN}")
    return config.load(config_files=[str(file)])


@pytest.fixture
def client(
    conf: cfg.ConfigOpts, bell: Bell, store: Store, keystone: AuthTokenFixture
) -> FlaskClient:
    backend = Backend(store, Cloud(), lambda: 0.0, lambda agents: Thresholds())
    return create_app(conf, bell.ring, backend=backend).test_client()


def token(keystone: AuthTokenFixture, *roles: str, name: str = "ann") -> dict[str, str]:
    given = uuid.uuid4().hex
    keystone.add_token_data(
        token_id=given, user_name=name, project_name="ops", project_id="p1", role_list=list(roles)
    )
    return {"X-Auth-Token": given}


def test_keystone_is_reached_as_the_section_cloud_says(
    conf: cfg.ConfigOpts, client: FlaskClient
) -> None:
    """Its own section left out, a private CA must not make every token an unknown one."""
    used = conf.keystone_authtoken
    assert (used.cafile, used.insecure) == (certifi.where(), False)
    assert used.http_connect_timeout == 3, "a Keystone that hangs would keep a thread for ever"


def test_without_a_token_one_is_asked_for(client: FlaskClient) -> None:
    answer = client.get("/v1/hosts")
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == 'Keystone uri="http://keystone.invalid/v3"'
    assert answer.get_json()["error"]["reason"] == "the request has no token"


def test_a_token_that_keystone_does_not_know_is_refused(client: FlaskClient) -> None:
    answer = client.get("/v1/hosts", headers={"X-Auth-Token": "made-up"})
    assert answer.status_code == 401
    assert "made-up" not in answer.get_data(as_text=True)


def test_headers_that_pretend_to_be_checked_are_worth_nothing(client: FlaskClient) -> None:
    forged = {"X-Identity-Status": "Confirmed", "X-Roles": "admin", "X-User-Name": "root"}
    assert client.get("/v1/hosts", headers=forged).status_code == 401


@pytest.mark.parametrize("query", ["", "?sig=", "?xsig=1", "?a=sig="])
def test_a_webhook_that_pretends_to_be_checked_is_refused(
    client: FlaskClient, bell: Bell, query: str
) -> None:
    forged = {"X-Identity-Status": "Confirmed", "X-Roles": "admin", "X-User-Name": "root"}
    answer = client.post(f"/v1/alarms/failure/h1{query}", data=b"{}", headers=forged)
    assert answer.status_code == 401
    assert bell.rung == []


def test_an_administrator_is_let_in_and_a_member_is_not(
    client: FlaskClient, keystone: AuthTokenFixture
) -> None:
    assert client.get("/v1/hosts", headers=token(keystone, "admin")).status_code == 200
    refused = client.get("/v1/hosts", headers=token(keystone, "member", "reader"))
    assert refused.status_code == 403
    assert "vmha:hosts:list" in refused.get_json()["error"]["reason"]


def test_a_release_is_in_the_name_of_the_caller(
    client: FlaskClient, keystone: AuthTokenFixture, store: Store
) -> None:
    epoch = store.claim_epoch("test")
    opened = store.open_incident("h2", "partition", "report", "low", "cut off", epoch=epoch)
    headers = token(keystone, "admin", name="bob")
    assert client.post(f"/v1/incidents/{opened.id}/release", headers=headers).status_code == 200
    assert store.incident(opened.id).released_by == "bob (ops)"


def test_webhooks_and_health_need_no_token(client: FlaskClient, bell: Bell) -> None:
    assert client.post(path("failure", "h1"), data=b"{}").status_code == 202
    assert bell.rung == [("failure", "h1")]
    assert client.get("/healthcheck").status_code == 200
