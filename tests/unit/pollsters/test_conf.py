# SPDX-License-Identifier: Apache-2.0
"""The agent's configuration: a mistake is named, and every option says what it costs."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from vmha_pollsters import conf as configuration
from vmha_pollsters.agent.main import main
from vmha_remediator.errors import ConfigError


def written(folder: Path, *lines: str) -> str:
    path = folder / "agent.conf"
    path.write_text("\n".join(["[agent]", *lines]))
    return str(path)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = written(
        tmp_path, "host = h1", "address = fd00::1", "isolation_addresses = ::1,10.0.0.1"
    )
    agent = configuration.load(path).agent
    assert (agent.host, agent.address, agent.port) == ("h1", "fd00::1", 8577)
    assert agent.isolation_addresses == ["::1", "10.0.0.1"]
    assert (agent.heartbeat_interval, agent.lease_interval) == (1.0, 2.0)


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("address = mars", "address"),
        ("port = 99999", "port"),
        ("lease_interval = 0", "lease_interval"),
        ("isolation_addresses = not an address", "isolation_addresses"),
    ],
)
def test_a_wrong_value_is_named(tmp_path: Path, line: str, names: str) -> None:
    with pytest.raises(ConfigError, match=names):
        configuration.load(written(tmp_path, line))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing\.conf"):
        configuration.load(str(tmp_path / "nothing.conf"))


@pytest.mark.parametrize(
    ("content", "says"), [(None, "No such file"), ("short", "shorter than 16 bytes")]
)
def test_a_key_that_cannot_be_used_is_refused(
    tmp_path: Path, content: str | None, says: str
) -> None:
    if content is not None:
        (tmp_path / "key").write_text(content)
    conf = configuration.load(written(tmp_path, f"key_file = {tmp_path}/key"))
    with pytest.raises(ConfigError, match=says):
        configuration.read_keys(conf)


def test_the_key_to_sign_with_comes_first(tmp_path: Path) -> None:
    for name in ("new", "old"):
        (tmp_path / name).write_text(f"{name} 0123456789abcdef\n")
    conf = configuration.load(
        written(tmp_path, f"key_file = {tmp_path}/new", f"previous_key_file = {tmp_path}/old")
    )
    assert configuration.read_keys(conf) == (b"new 0123456789abcdef", b"old 0123456789abcdef")
    (tmp_path / "old").unlink()
    assert configuration.read_keys(conf) == (b"new 0123456789abcdef",), "the rotation is over"


@pytest.mark.parametrize("text", ["5ccf3c70-b9cf-4553-8644-4c85d85b6bd6\n", "boot seven"])
def test_any_text_can_tell_boots_apart(tmp_path: Path, text: str) -> None:
    (tmp_path / "boot").write_text(text)
    conf = configuration.load(written(tmp_path, f"boot_id_file = {tmp_path}/boot"))
    first = configuration.read_boot_id(conf)
    assert isinstance(first, uuid.UUID)
    assert configuration.read_boot_id(conf) == first
    (tmp_path / "boot").write_text("the next one")
    assert configuration.read_boot_id(conf) != first


def test_every_option_says_what_happens_when_it_is_wrong() -> None:
    for _, options in configuration.list_opts():
        for option in options:
            assert option.help, option.name


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([], "cluster is not set"),
        (["cluster = c"], "address is not set"),
        (["cluster = c", "address = ::1"], "lease_path is not set"),
    ],
)
def test_an_agent_that_cannot_work_says_so_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], lines: list[str], says: str
) -> None:
    assert main(["--config-file", written(tmp_path, *lines)]) == 1
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


def test_an_unknown_lease_driver_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "key").write_text("0123456789abcdef")
    lines = ["cluster = c", "address = ::1", "lease_path = /x", f"key_file = {tmp_path}/key"]
    assert main(["--config-file", written(tmp_path, *lines, "lease_driver = wishes")]) == 1
    assert "lease_driver 'wishes' is not known; there is: sanlock, slots" in (
        capsys.readouterr().err
    )


def test_an_unknown_watchdog_driver_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = ["cluster = c", "lease_path = /x", "watchdog_driver = wishes"]
    assert main(["--config-file", written(tmp_path, *lines), "watchdog"]) == 1
    assert "watchdog_driver 'wishes' is not known; there is: linux, socket" in (
        capsys.readouterr().err
    )


def test_a_file_that_is_no_text_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "agent.conf"
    path.write_bytes(b"\xff\xfe")
    assert main(["--config-file", str(path)]) == 1
    assert capsys.readouterr().err.startswith(f"vmha-agent: configuration: {path} is no text")


@pytest.mark.parametrize(
    ("verb", "does"),
    [
        ("status", "changes nothing"),
        ("dump", "changes nothing"),
        ("init", "writes zeros"),
        ("forget", "writes to the area"),
    ],
)
def test_a_verbs_help_says_what_it_changes_and_shows_how(
    verb: str, does: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([verb, "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert does in text
    assert f"examples: vmha-agent {verb}" in text


def test_what_is_not_set_is_named_with_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path)
    assert main(["--config-file", path]) == 1
    assert f"[agent] cluster is not set in {path}" in capsys.readouterr().err
    monkeypatch.setattr(configuration, "DEFAULT_FILE", str(tmp_path / "none.conf"))
    assert main([]) == 1
    assert "none.conf, which is not there" in capsys.readouterr().err


def test_status_without_an_agent_says_where_it_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", "--socket", str(tmp_path / "none.sock")]) == 1
    assert "does not answer on" in capsys.readouterr().err


def test_init_and_dump_as_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "slots")
    assert main(["init", path, "--hosts", "4", "--cluster", "prod"]) == 0
    assert main(["dump", path]) == 0
    assert "prod, 4 slots" in capsys.readouterr().out
    assert main(["init", path, "--hosts", "4", "--cluster", "prod"]) == 1
    assert main(["dump", str(tmp_path / "missing")]) == 1
    assert "missing: No such file" in capsys.readouterr().err
