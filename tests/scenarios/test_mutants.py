# SPDX-License-Identifier: Apache-2.0
"""Mutants live only while they are at work; `python -m tests.scenarios mutants` hunts them."""

from __future__ import annotations

import inspect

import pytest

from tests.scenarios.sim.mutants import MUTANTS


@pytest.mark.parametrize("name", MUTANTS)
def test_the_guard_is_back_when_its_mutant_has_gone(name: str) -> None:
    mutant = MUTANTS[name]
    whole = mutant.function.__code__
    with mutant.at_work():
        assert mutant.function.__code__ is mutant.body.__code__
    assert mutant.function.__code__ is whole


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_takes_what_the_guard_takes(name: str) -> None:
    mutant = MUTANTS[name]
    assert [*inspect.signature(mutant.body).parameters] == [
        *inspect.signature(mutant.function).parameters
    ]
