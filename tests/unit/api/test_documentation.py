# SPDX-License-Identifier: Apache-2.0
"""The page names every answer there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from vmha_remediator.api import problem, webhook

DOC = Path(__file__).resolve().parents[3] / "doc" / "source"

CODES = [
    *(value for value in vars(webhook).values() if isinstance(value, problem.Problem)),
    problem.INTERNAL,
]


@pytest.mark.parametrize("answer", CODES, ids=lambda answer: answer.code)
def test_every_refusal_is_in_the_page(answer: problem.Problem) -> None:
    lines = (DOC / "webhook.rst").read_text().splitlines()

    assert any(line.startswith(f"{answer.status}    ``{answer.code}``") for line in lines)
