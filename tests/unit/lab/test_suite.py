# SPDX-License-Identifier: Apache-2.0
"""Where the tests on the lab are: `make test` reads no other folder for them."""

from __future__ import annotations

from tests.lab import layout

SUITE = layout.REPO / "tests/lab/suite"
MARK = "pytest.mark." + "lab"


def test_every_test_on_the_lab_is_in_its_suite() -> None:
    tests = (layout.REPO / "tests").rglob("test_*.py")
    marked = {path.parent for path in tests if MARK in path.read_text()}
    assert marked == {SUITE}
    makefile = (layout.REPO / "Makefile").read_text()
    assert f"pytest -m lab --durations=40 {SUITE.relative_to(layout.REPO)}\n" in makefile
