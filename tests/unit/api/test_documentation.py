# SPDX-License-Identifier: Apache-2.0
"""The pages name every answer and every setting there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from vmha_remediator.api import problem, webhook
from vmha_remediator.fencing.redfish import RedfishDriver

DOC = Path(__file__).resolve().parents[3] / "doc" / "source"

CODES = [
    *(value for value in vars(webhook).values() if isinstance(value, problem.Problem)),
    problem._INTERNAL,
]


@pytest.mark.parametrize("answer", CODES, ids=lambda answer: answer.code)
def test_every_refusal_is_in_the_page(answer: problem.Problem) -> None:
    lines = (DOC / "webhook.rst").read_text().splitlines()

    assert any(line.startswith(f"{answer.status}    ``{answer.code}``") for line in lines)


@pytest.mark.parametrize("setting", RedfishDriver.SETTINGS, ids=lambda setting: setting.key)
def test_every_setting_of_redfish_is_in_the_page(setting: object) -> None:
    lines = (DOC / "fencing.rst").read_text().splitlines()

    assert any(line.startswith(f"``{getattr(setting, 'key', '')}``") for line in lines)
