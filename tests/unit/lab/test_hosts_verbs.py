# SPDX-License-Identifier: Apache-2.0
"""The hosts' verbs refuse what cannot be, in one line, and touch nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.lab import cli, layout


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Look for the lab in an empty folder, as root."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    for name in ("RUN", "STATE", "EVENTS"):
        monkeypatch.setattr(layout, name, tmp_path / name)
    return tmp_path


@pytest.mark.parametrize("words", ["kill h1", "redfish h1 ok", "heal", "guests", "invariants"])
def test_without_a_lab_a_verb_says_so_and_leaves_nothing(
    words: str, nowhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words.split()) == 1

    assert capsys.readouterr().err == "lab: no lab is up here: python -m tests.lab up\n"
    assert list(nowhere.iterdir()) == []


def test_an_unknown_host_is_refused_with_those_there_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["kill", "h9"])

    assert ended.value.code == 2
    assert "no host 'h9': the lab has h1, h2, h3, h4" in capsys.readouterr().err
