# SPDX-License-Identifier: Apache-2.0
"""A machine with a configuration, a key, a hosts file and a database of its own."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from logging.handlers import WatchedFileHandler
from pathlib import Path

import pytest

from vmha_remediator import conf as config
from vmha_remediator.cmd import manage
from vmha_remediator.store import Store, open_store

#: Handlers that oslo.log makes, for standard error and for a file.
SET_UP = (logging.StreamHandler, WatchedFileHandler)
KEY = b"0123456789abcdef0123456789abcdef"


@pytest.fixture(autouse=True)
def _logging_of_its_own() -> Iterator[None]:
    """Take back what a service sets up when it starts: its log goes to this test's output."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    yield
    for handler in [h for h in root.handlers if type(h) in SET_UP]:
        if handler not in before:
            root.removeHandler(handler)
    root.setLevel(level)


@dataclass
class Machine:
    """Its files; `manage` runs a command on it as an operator would."""

    folder: Path
    capture: pytest.CaptureFixture[str]

    @property
    def config_file(self) -> Path:
        return self.folder / "vmha.conf"

    @property
    def database(self) -> Path:
        return self.folder / "vmha.sqlite"

    def configure(self, text: str) -> None:
        """Say more in its configuration file, after what is there."""
        with self.config_file.open("a") as file:
            file.write(text)

    def hosts(self, text: str) -> None:
        (self.folder / "fencing.yaml").write_text(text)

    def manage(self, *words: str) -> tuple[int, str, str]:
        """Return exit status, output and errors of `vmha-manage WORDS`."""
        self.capture.readouterr()
        try:
            status = manage.main(["--config-file", str(self.config_file), *words])
        except SystemExit as exc:
            status = int(exc.code or 0)
        out, err = self.capture.readouterr()
        return status, out, err

    def store(self, clock: Callable[[], float] | None = None) -> Store:
        conf = config.load(config_files=[str(self.config_file)])
        return open_store(conf, clock) if clock else open_store(conf)


@pytest.fixture
def machine(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Machine:
    made = Machine(tmp_path, capsys)
    (tmp_path / "webhook.key").write_bytes(KEY)
    made.hosts("hosts: {h1: {drivers: [manual]}}")
    made.config_file.write_text(
        f"[database]\nconnection = sqlite:///{made.database}\n"
        f"[fencing]\nhosts_file = {tmp_path}/fencing.yaml\n"
        f"[webhook]\nkey_file = {tmp_path}/webhook.key\n"
    )
    monkeypatch.setenv("SUDO_USER", "ann")
    monkeypatch.setattr("socket.gethostname", lambda: "control-1")
    return made
