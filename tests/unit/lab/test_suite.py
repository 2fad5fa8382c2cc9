# SPDX-License-Identifier: Apache-2.0
"""Where the tests on the lab are: `make test` reads no other folder for them."""

from __future__ import annotations

import re

from tests.lab import layout

SUITE = layout.REPO / "tests/lab/suite"
MARK = "pytest.mark." + "lab"


def test_every_test_on_the_lab_is_in_its_suite() -> None:
    tests = (layout.REPO / "tests").rglob("test_*.py")
    marked = {path.parent for path in tests if MARK in path.read_text()}
    assert marked == {SUITE}
    makefile = (layout.REPO / "Makefile").read_text()
    assert f"pytest -m lab --durations=40 {SUITE.relative_to(layout.REPO)}\n" in makefile


def test_what_is_left_for_the_night_has_one_beside_it_by_day_and_a_scenario() -> None:
    page = (layout.REPO / "doc/source/contributor/lab.rst").read_text()
    rows = re.findall(r"^``(\w+)`` +(\S.*?) +\d+ s +(\S.*?) +``(\S+)``$", page, re.MULTILINE)
    left = [
        path.stem.removeprefix("test_")
        for path in SUITE.glob("test_*.py")
        for _ in _marks(path.read_text())
    ]
    assert sorted(file for file, *_ in rows) == sorted(left)
    for file, mine, sister, scenario in rows:
        source = (SUITE / f"test_{file}.py").read_text()
        assert f'"{mine}"' in source
        assert f'"{sister}"' in source
        assert (layout.REPO / "tests/scenarios" / scenario).is_dir()


def _marks(source: str) -> list[str]:
    return re.findall(r"marks=nightly|^@nightly", source, re.MULTILINE)
