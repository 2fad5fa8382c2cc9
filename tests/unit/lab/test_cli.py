# SPDX-License-Identifier: Apache-2.0
"""The command line: help that teaches, errors in one line."""

from __future__ import annotations

import argparse
import os

import pytest

from tests.lab import cli, packages
from tests.lab.errors import LabError


def verbs() -> dict[str, argparse.ArgumentParser]:
    found = [a for a in cli.parser()._actions if isinstance(a, argparse._SubParsersAction)]
    return dict(found[0].choices)


@pytest.mark.parametrize("verb", sorted(verbs()))
def test_every_verb_teaches_by_example(verb: str) -> None:
    text = verbs()[verb].format_help()
    assert f"python -m tests.lab {verb}" in text.split("\n", 2)[-1]
    assert "example" in text


def test_without_root_it_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert cli.main(["status"]) == 1
    captured = capsys.readouterr()
    assert "run it as root" in captured.err
    assert captured.err.count("\n") == 1


def test_a_lab_error_is_one_line_and_no_trace(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def lacking() -> None:
        raise LabError("Debian packages are missing: redis-server")

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(packages, "check", lacking)
    assert cli.main(["up", "--only", "cloud"]) == 1
    assert capsys.readouterr().err == "lab: Debian packages are missing: redis-server\n"


def test_an_unknown_service_is_refused_with_a_way_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert cli.main(["service", "stop", "nonsense"]) == 1
    assert "'status' lists them" in capsys.readouterr().err


def test_every_program_comes_from_a_package_that_bootstrap_installs() -> None:
    always_there = {"util-linux"}
    assert set(packages.PROGRAMS.values()) - always_there <= set(packages.wanted())
