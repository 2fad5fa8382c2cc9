# SPDX-License-Identifier: Apache-2.0
"""The pictures in the documents can be taken anew, and none makes the repository heavy."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.web import pictures

DOC = Path(__file__).parents[2] / "doc/source/pictures"
KIB = 1024


def test_they_can_be_taken_anew(tmp_path: Path) -> None:
    pictures.take(tmp_path)
    taken = {path.name for path in tmp_path.glob("*.png")}
    assert taken == {path.name for path in DOC.glob("*.png")}


@pytest.mark.parametrize("path", sorted(DOC.rglob("*.png")), ids=lambda path: path.name)
def test_they_are_small(path: Path) -> None:
    assert path.stat().st_size < 150 * KIB, f"pngquant --force --ext .png 64 {path.name}"
