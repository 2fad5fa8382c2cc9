# SPDX-License-Identifier: Apache-2.0
"""Schemathesis calls every operation with what the document allows and what it does not."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import schemathesis
from flask import Flask
from hypothesis import HealthCheck, settings

from tests.unit.api.cloud import Cloud
from vmha_remediator import conf as config
from vmha_remediator.api.app import create_app
from vmha_remediator.api.backend import Backend
from vmha_remediator.rules.model import Thresholds
from vmha_remediator.store import Store, open_store

_FOLDER = tempfile.TemporaryDirectory(prefix="vmha-openapi-")


def _store() -> Store:
    conf = config.load(config_files=[])
    conf.set_override("connection", f"sqlite:///{_FOLDER.name}/vmha.sqlite", group="database")
    store = open_store(conf)
    epoch = store.claim_epoch("test")
    for host in ("h1", "h2"):
        store.open_incident(host, "failure", "recover", "critical", "dead", epoch=epoch)
    return store


def _app() -> Flask:
    conf = config.load(config_files=[])
    key = Path(_FOLDER.name) / "key"
    key.write_bytes(b"0123456789abcdef")
    conf.set_override("key_file", str(key), group="webhook")
    conf.set_override("auth_strategy", "noauth", group="api")
    backend = Backend(_store(), Cloud(), lambda: 0.0, lambda agents: Thresholds())
    return create_app(conf, lambda rule, host: None, backend=backend)


schema = schemathesis.openapi.from_wsgi("/v1/openapi.json", _app())


@schema.parametrize()
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_request_ends_in_a_500_and_every_answer_fits(case: schemathesis.Case[Any]) -> None:
    case.call_and_validate()
