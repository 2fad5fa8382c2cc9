# SPDX-License-Identifier: Apache-2.0
"""A misspelt option is said: oslo.config itself would let its default hold in silence."""

from __future__ import annotations

from pathlib import Path

import certifi
import pytest

from vmha_pollsters import conf as agent
from vmha_remediator import conf as remediator
from vmha_remediator.strays import strays

KNOWN = {"DEFAULT": {"log_dir"}, "webhook": {"base_url", "key_file"}, "agent": {"address"}}


def said(folder: Path, text: str) -> list[str]:
    path = folder / "x.conf"
    path.write_text(text)
    found = strays([str(path)], KNOWN, ("oslo_",))
    assert all(sentence.startswith(f"{path}: nothing reads ") for sentence in found)
    return [sentence.removeprefix(f"{path}: nothing reads ") for sentence in found]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[webhook]\nbase_ulr = x", "[webhook] base_ulr; did you mean base_url?"),
        ("[webhok]\nbase_url = x", "[webhok]; did you mean [webhook]?"),
        ("[webhook]\naddress = x", "[webhook] address; did you mean [agent] address?"),
        ("[DEFAULT]\naddress = x", "[DEFAULT] address; did you mean [agent] address?"),
        ("[DEFAULT]\nlog_dirs = x", "[DEFAULT] log_dirs; did you mean log_dir?"),
        ("[webhook]\nzebra = x", "[webhook] zebra"),
        ("[zebra]\nx = y", "[zebra]"),
    ],
)
def test_what_nothing_reads_is_said_with_what_was_probably_meant(
    tmp_path: Path, text: str, sentence: str
) -> None:
    assert said(tmp_path, text) == [sentence]


@pytest.mark.parametrize(
    "text",
    [
        "[webhook]\nbase_url = x\nkey_file = y",
        "[Webhook]\nbase_url = x",  # oslo.config reads a section in any case
        "[oslo_policy]\npolicy_file = x",
        "[DEFAULT]\ntransport_url = x",
    ],
)
def test_what_something_reads_is_not_said(tmp_path: Path, text: str) -> None:
    assert said(tmp_path, text) == []


def loaded(folder: Path, text: str) -> list[str]:
    path = folder / "vmha.conf"
    path.write_text(text)
    return remediator.unread(remediator.load(config_files=[str(path)]))


@pytest.mark.parametrize(
    "line",
    [
        "auth_url = x",
        "auth-url = x",
        "user_name = x",
        "timeout = 3",
        f"cafile = {certifi.where()}",
        "interface = public",
    ],
)
def test_a_login_may_be_written_as_keystoneauth_reads_it(tmp_path: Path, line: str) -> None:
    assert loaded(tmp_path, f"[cloud]\nauth_type = password\n{line}\n") == []


def test_a_misspelt_login_is_said_without_its_value(tmp_path: Path) -> None:
    (sentence,) = loaded(tmp_path, "[cloud]\nauth_type = password\npasword = s3cret\n")
    assert sentence.endswith("nothing reads [cloud] pasword; did you mean password?")


@pytest.mark.parametrize(
    "text",
    [
        "[cloud]\nauth_type = v3applicationcredential\napplication_credential_id = x\n",
        "[cloud]\nauth_type = no such plugin\nanything = x\n",  # making a session says so
        "[cloud]\nauth_section = Elsewhere\n[Elsewhere]\nauth_type = password\n",
        "[DEFAULT]\nlogdir = x\nlog-file = x\n",  # oslo.log's older ways to write them
    ],
)
def test_other_logins_and_older_names_are_no_mistakes(tmp_path: Path, text: str) -> None:
    assert loaded(tmp_path, text) == []


def test_the_agents_file_is_looked_at_as_well(tmp_path: Path) -> None:
    path = tmp_path / "agent.conf"
    path.write_text("[DEFAULT]\nhost = h1\n[agent]\nisolation_address = 192.0.2.1\n")
    assert agent.unread(agent.load(str(path))) == [
        f"{path}: nothing reads [DEFAULT] host; did you mean [agent] host?",
        f"{path}: nothing reads [agent] isolation_address; did you mean isolation_addresses?",
    ]
