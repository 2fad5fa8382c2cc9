# SPDX-License-Identifier: Apache-2.0
"""Every command in the documents is run by a test, or it is said why not; here without a cloud."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.document_runs import PLANS, Here, Not
from tests.documents import ROOT, Command, commands
from vmha_remediator import conf as config
from vmha_remediator.remedy.states import IncidentState
from vmha_remediator.store import open_store

SHOWN = {command.text for command in commands()}
RUN = {text: plan for text, plan in PLANS.items() if isinstance(plan, Here)}
INSTEAD = sorted({plan.test for plan in PLANS.values() if isinstance(plan, Not) and plan.test})
#: Alembic makes one database at a time in a process.
ONE_AT_A_TIME = threading.Lock()
#: Places on a real machine -> folders of the test's own.
PLACES = {
    "/etc/vmha": "etc", "/mnt/shared/vmha": "shared", "/shared/vmha": "shared",
    "/var/lib/vmha": "lib", "/var/backups": "backups", "/etc/systemd/system": "units",
}  # fmt: skip


@pytest.mark.parametrize("command", commands(), ids=str)
def test_it_is_known_what_runs_it(command: Command) -> None:
    assert command.text in PLANS, "say in tests/document_runs.py where it is run, or why not"


def test_nothing_is_planned_for_what_no_page_shows() -> None:
    assert set(PLANS) <= SHOWN


@pytest.mark.parametrize("test", INSTEAD)
def test_what_covers_it_instead_is_there(test: str) -> None:
    file, _, function = test.partition("::")
    assert f"def {function}" in (ROOT / file).read_text(encoding="utf-8")


class Machine:
    """A machine with /etc/vmha and the like in a folder, and no cloud."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in set(PLACES.values()):
            (folder / name).mkdir()
        (folder / "etc/webhook.key").write_bytes(b"0123456789abcdef0123456789abcdef")
        (folder / "etc/fencing.yaml").write_text("hosts: {compute-1: {drivers: [manual]}}")
        (folder / "etc/vmha.conf").write_text(
            f"[database]\nconnection = sqlite:///{folder}/lib/vmha.sqlite\n"
            f"[fencing]\nhosts_file = {folder}/etc/fencing.yaml\n"
            f"[webhook]\nkey_file = {folder}/etc/webhook.key\n"
        )
        self.incident = ""

    def hold(self) -> None:
        """Open a failure that is held for want of a proof."""
        with ONE_AT_A_TIME:
            store = open_store(config.load(config_files=[str(self.folder / "etc/vmha.conf")]))
        epoch = store.claim_epoch("engine")
        opened = store.open_incident(
            "compute-1", "failure", "recover", "critical", "gone", epoch=epoch
        )
        opened = store.move(opened, IncidentState.CONFIRMED, "agreed", epoch=epoch)
        opened = store.move(
            opened, IncidentState.HELD, "the BMC is silent", epoch=epoch,
            held_by="no-proof", held_from=IncidentState.CONFIRMED,
        )  # fmt: skip
        store.close()
        self.incident = str(opened.id)

    def run(self, text: str, instead: tuple[tuple[str, str], ...]) -> tuple[int, str]:
        """Run a document's command as a shell would; return its status and all it printed."""
        for old, new in (
            *instead,
            *PLACES.items(),
            (" -o vmha", ""),
            (" -g vmha", ""),
            (" ID", f" {self.incident}"),
        ):
            text = text.replace(old, str(self.folder / new) if old in PLACES else new)
        text = re.sub(
            r"^vmha-manage ", f"vmha-manage --config-file {self.folder}/etc/vmha.conf ", text
        )
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-c", text], cwd=ROOT, env={**os.environ, "PATH": path}, text=True,
            input="a secret\n", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300,
            check=False,
        )  # fmt: skip
        return done.returncode, done.stdout

    def follow(self, text: str, plan: Here) -> tuple[int, str]:
        """Make what a command needs, run it, and return its status and what it printed."""
        for earlier in plan.before:
            if earlier == "held":
                self.hold()
                continue
            status, said = self.run(earlier, ())
            assert status == 0, said
        return self.run(f"{text} {plan.add}".strip(), plan.instead)


@pytest.fixture(scope="module")
def outcomes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[str, Future[tuple[int, str]]]]:
    """Begin those that this run asks for, two at a time: most of each is Python's start."""
    asked = [
        item.callspec.params["text"]  # type: ignore[attr-defined]
        for item in request.session.items
        if getattr(item, "originalname", "") == test_it_runs.__name__
    ]
    with ThreadPoolExecutor(2) as pool:
        yield {
            text: pool.submit(Machine(tmp_path_factory.mktemp("m")).follow, text, RUN[text])
            for text in asked
        }


@pytest.mark.parametrize("text", RUN)
def test_it_runs(text: str, outcomes: Mapping[str, Future[tuple[int, str]]]) -> None:
    status, said = outcomes[text].result()
    assert (status, "Traceback" in said) == (RUN[text].status, False), said
    assert RUN[text].says in said, said
