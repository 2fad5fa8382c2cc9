# SPDX-License-Identifier: Apache-2.0
"""The commands around the agent: what people read, in text and JSON, and what is refused."""

from __future__ import annotations

import errno
import json
import os
import uuid
from pathlib import Path

import pytest

from vmha_pollsters.agent import area
from vmha_pollsters.agent.main import main
from vmha_pollsters.agent.storage.keeper import Content, Identity, Keeper
from vmha_pollsters.agent.storage.slotfile import SlotFile
from vmha_pollsters.lease.layout import BLOCK, FIRST_HOST, Flag, Opinion, Probe, Roster

Out = pytest.CaptureFixture[str]


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Return an area with a master in slot 0, damage in slot 2 and nothing else."""
    made = str(tmp_path / "slots")
    assert main(["init", made, "--hosts", "4", "--cluster", "prod"]) == 0
    me = Identity("h1", "192.0.2.1", uuid.UUID(int=1), "prod", priority=5)
    keeper = Keeper(SlotFile(made), me, 0.1, lambda _: False)
    keeper.claim()
    views = (Opinion(0.5, 1.0, Probe.ANSWERS),) * 4
    keeper.renew(Content(Flag.QUALIFIED, views))
    keeper.write_roster(Roster(0, (0,), frozenset({0}), 3, 7, 0, written=1.5e9))
    SlotFile(made).write(FIRST_HOST + 2, b"x" * BLOCK)
    return made


def test_init_says_what_it_made(tmp_path: Path, capsys: Out) -> None:
    new = str(tmp_path / "new")
    assert main(["init", new, "--hosts", "4", "--cluster", "prod"]) == 0
    assert capsys.readouterr().out == f"{new}: slots for 4 hosts of cluster 'prod'\n"


def test_dump_shows_header_roster_slots_and_damage(path: str, capsys: Out) -> None:
    capsys.readouterr()
    assert main(["dump", path]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("cluster    prod, 4 slots, area ")
    assert lines[2] == (
        "roster     term 3.7, master slot 0, witnesses [0], members [0], "
        "written 2017-07-14 02:40:00Z"
    )
    assert lines[3] == "DAMAGED    slot 2: not one of ours (no VMHASLOT mark)"
    assert lines[-1].split()[:7] == ["0", "h1", "192.0.2.1", "1", "2", "5", "qualified"]


def test_dump_as_json_has_it_all(path: str, capsys: Out) -> None:
    capsys.readouterr()
    assert main(["dump", path, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["header"]["hosts"] == 4
    assert told["roster"]["witnesses"] == [0]
    assert told["damaged"] == {"2": "slot 2: not one of ours (no VMHASLOT mark)"}
    assert told["slots"][0]["views"] == {"0": {"heard": 0.5, "lease": 1.0, "probe": "answers"}}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--hosts", "4"], "is a slots area already; --force makes it anew, if it is idle"),
        (["--hosts", "0"], "--hosts must be 1 to 2000, not 0"),
        (["--hosts", "2001"], "--hosts must be 1 to 2000, not 2001"),
    ],
)
def test_init_refuses_in_one_line_and_leaves_the_area_alone(
    path: str, words: list[str], says: str, capsys: Out
) -> None:
    before = Path(path).read_bytes()
    assert main(["init", path, "--cluster", "other", *words]) == 1
    error = capsys.readouterr().err
    assert error.startswith("vmha-agent: ")
    assert error.count("\n") == 1
    assert says in error
    assert Path(path).read_bytes() == before


def test_init_on_a_full_disk_names_the_file(
    tmp_path: Path, capsys: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_fd: int, _begin: int, _size: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    new = str(tmp_path / "new")
    assert main(["init", new, "--hosts", "4", "--cluster", "prod"]) == 1
    assert capsys.readouterr().err == f"vmha-agent: {new}: No space left on device\n"


def test_init_refuses_a_cluster_name_that_does_not_fit(tmp_path: Path, capsys: Out) -> None:
    new = str(tmp_path / "new")
    assert main(["init", new, "--hosts", "4", "--cluster", "n" * 129]) == 1
    assert "cluster name must have 1 to 128 bytes" in capsys.readouterr().err
    assert not Path(new).exists()


def test_an_area_in_use_is_not_forced(
    path: str, capsys: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    me = Identity("h2", "192.0.2.2", uuid.UUID(int=2), "prod")
    keeper = Keeper(SlotFile(path), me, 0.1, lambda _: False)
    keeper.claim()
    monkeypatch.setattr(area.init, "__defaults__", (False, lambda _: keeper.renew(Content())))
    assert main(["init", path, "--hosts", "4", "--cluster", "prod", "--force"]) == 1
    assert "is in use: h2 renewed a lease just now" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["dump", "{folder}/none"], "none: No such file or directory"),
        (["dump", "{folder}"], "neither a file nor a block device"),
        (["dump", "{folder}/text"], "header: not one of ours"),
        (["forget", "{folder}/none", "h1"], "none: No such file or directory"),
        (["dump", "{folder}/short"], "short: only 18 of 4096 bytes of slots are there"),
        (["status", "--socket", "{folder}/none"], "No such file or directory; does it run?"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    tmp_path: Path, words: list[str], says: str, capsys: Out
) -> None:
    (tmp_path / "text").write_text("Dear Sir or Madam" * 1000)
    (tmp_path / "short").write_text("Dear Sir or Madam,")
    assert main([word.format(folder=tmp_path) for word in words]) == 1
    error = capsys.readouterr().err
    assert error.startswith("vmha-agent: ")
    assert error.count("\n") == 1
    assert says in error
