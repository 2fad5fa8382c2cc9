# SPDX-License-Identifier: Apache-2.0
"""Every command in the documents is one that the product takes, and every option exists."""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from vmha_pollsters import conf as agent_conf
from vmha_pollsters.agent import main as agent
from vmha_remediator import conf as config
from vmha_remediator.cmd import manage

ROOT = Path(__file__).parents[3]
PAGES = [*(ROOT / "doc/source").glob("*.rst"), ROOT / "README.rst", ROOT / "devstack/README.rst"]
#: Words that stand for something else in the documents, and a value that fits.
STAND_INS = {"ID": "7", "HOST": "compute-1", "SERVER": "vm-1", "N": "4"}


def _blocks(text: str) -> str:
    """Return the literal blocks: what is indented, without what ends a line as a comment."""
    lines = [line for line in text.splitlines() if line.startswith("   ")]
    return re.sub(r"\\\n\s*", " ", "\n".join(lines))


def _commands(program: str) -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        for line in _blocks(page.read_text()).splitlines():
            words = re.sub(r"^\s*(#|\$) ", "", line).strip()
            if words.startswith(f"{program} "):
                found.append((page.name, words.split("  ")[0].split(" #")[0].split(" >")[0]))
    return sorted(set(found))


def _words(command: str) -> list[str]:
    return [STAND_INS.get(word, word) for word in shlex.split(command)[1:]]


@pytest.mark.parametrize(("page", "command"), _commands("vmha-manage"))
def test_manage_takes_it(page: str, command: str) -> None:
    args = manage.build_parser().parse_args(_words(command))
    assert callable(args.func)


@pytest.mark.parametrize(("page", "command"), _commands("vmha-agent"))
def test_the_agent_takes_it(page: str, command: str) -> None:
    assert callable(agent._parser().parse_args(_words(command)).func)


@pytest.mark.parametrize(("page", "command"), _commands("openstack vmha"))
def test_openstack_has_it(page: str, command: str) -> None:
    names = {e.name.replace("_", " ") for e in entry_points(group="openstack.vmha.v1")}
    words = command.removeprefix("openstack ")
    assert any(words == name or words.startswith(name + " ") for name in names)


def _options() -> Iterator[tuple[str, str, str]]:
    """Yield (page, section, option) of every configuration shown in the installation guide."""
    text = (ROOT / "doc/source/install.rst").read_text()
    for block in re.split(r"\n(?=\S)", text):
        lines = [line.strip() for line in block.splitlines() if line.startswith("    ")]
        if not any(line.startswith("[") and line.endswith("]") for line in lines):
            continue
        parser = configparser.RawConfigParser(strict=False, default_section="\0")
        parser.read_string("\n".join(lines))
        for section in parser.sections():
            for option in parser.options(section):
                yield "install.rst", section, option


def _known(section: str) -> set[str]:
    ours = dict(config.list_opts())
    theirs = dict(agent_conf.list_opts())
    return {o.dest for opts in (ours, theirs) for o in opts.get(section, [])}


@pytest.mark.parametrize(
    ("page", "section", "option"),
    [found for found in _options() if _known(found[1])],
)
def test_every_option_of_ours_exists(page: str, section: str, option: str) -> None:
    assert option in _known(section) or option in {"project_name", "project_domain_name"}


@pytest.mark.parametrize("unit", sorted((ROOT / "etc/systemd").glob("*.service")), ids=str)
def test_every_unit_is_one_that_systemd_takes(unit: Path, tmp_path: Path) -> None:
    """systemd-analyze wants to find the programs, so each stands for /bin/true here."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd here")
    text = re.sub(r"/usr/bin/[a-z-]+", "/bin/true", unit.read_text())
    (tmp_path / unit.name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", str(tmp_path / unit.name)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert unit.name not in done.stderr, done.stderr


@pytest.mark.parametrize("unit", sorted((ROOT / "etc/systemd").glob("*.service")), ids=str)
def test_every_unit_starts_a_command_that_is_installed(unit: Path) -> None:
    (line,) = [x for x in unit.read_text().splitlines() if x.startswith("ExecStart=")]
    program = Path(line.removeprefix("ExecStart=").split()[0]).name
    installed = {e.name for e in entry_points(group="console_scripts")}
    assert program in installed
