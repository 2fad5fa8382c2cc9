# SPDX-License-Identifier: Apache-2.0
"""Logging in for the page: the token stays in a cookie that no script or other site can use."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from flask import Flask
from flask.testing import FlaskClient
from keystoneauth1 import exceptions as ks_exc

from vmha_remediator.api import login, problem

PAGE = {"X-Vmha-Page": "1"}
GOOD = {"user": "ann", "password": "right"}


def ask(given: Mapping[str, str]) -> tuple[str, str]:
    """Stand for Keystone: one password is right, and one project makes it fall over."""
    if given.get("project") == "down":
        raise ks_exc.ConnectTimeout("no answer")
    if given.get("password") != "right" and given.get("secret") != "right":
        raise ks_exc.Unauthorized("no")
    return "a-token", given.get("user", "of-credential")


@pytest.fixture
def client() -> FlaskClient:
    app = Flask("test")
    problem.register(app)
    app.register_blueprint(login.blueprint(ask))
    return app.test_client()


@pytest.mark.parametrize("given", [GOOD, {"id": "cred", "secret": "right"}])
def test_the_token_is_only_in_the_cookie(client: FlaskClient, given: dict[str, str]) -> None:
    answer = client.post("/v1/login", json=given, headers=PAGE)
    assert answer.status_code == 200
    assert "a-token" not in answer.get_data(as_text=True)
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith("vmha_token=a-token;")
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie


@pytest.mark.parametrize(
    ("given", "status", "code"),
    [
        ({"user": "ann", "password": "wrong"}, 401, "login-refused"),
        ({"user": "ann"}, 400, "bad-input"),
        ({"user": "ann", "password": "right", "extra": 1}, 400, "bad-input"),
        (GOOD | {"project": "down"}, 503, "keystone-unavailable"),
    ],
)
def test_a_refused_login_says_why_and_sets_no_cookie(
    client: FlaskClient, given: dict[str, str], status: int, code: str
) -> None:
    answer = client.post("/v1/login", json=given, headers=PAGE)
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (status, code)
    assert "Set-Cookie" not in answer.headers
    assert "wrong" not in answer.get_data(as_text=True)


def test_a_program_is_told_what_a_login_looks_like(client: FlaskClient) -> None:
    told = client.post("/v1/login", json=GOOD).get_json()["error"]["way_out"]
    assert "X-Vmha-Page" in told and "application credential" in told


def test_another_sites_form_cannot_log_anybody_in(client: FlaskClient) -> None:
    assert client.post("/v1/login", json=GOOD).status_code == 400


def test_logging_out_takes_the_cookie_away(client: FlaskClient) -> None:
    client.post("/v1/login", json=GOOD, headers=PAGE)
    client.delete("/v1/login", headers=PAGE)
    assert client.get_cookie(login.COOKIE) is None


@pytest.mark.parametrize(
    ("environ", "used"),
    [
        ({"REQUEST_METHOD": "GET"}, True),
        ({"REQUEST_METHOD": "POST"}, False),
        ({"REQUEST_METHOD": "POST", login.HEADER: "1"}, True),
        ({"REQUEST_METHOD": "DELETE"}, False),
    ],
)
def test_a_cookie_alone_changes_nothing(environ: dict[str, str], used: bool) -> None:
    environ["HTTP_COOKIE"] = f"other=1; {login.COOKIE}=a-token"
    login.token_of_cookie(environ)
    assert (environ.get("HTTP_X_AUTH_TOKEN") == "a-token") is used


def test_a_token_of_the_callers_own_comes_first() -> None:
    environ = {"REQUEST_METHOD": "GET", "HTTP_X_AUTH_TOKEN": "own",
               "HTTP_COOKIE": f"{login.COOKIE}=a-token"}  # fmt: skip
    login.token_of_cookie(environ)
    assert environ["HTTP_X_AUTH_TOKEN"] == "own"
