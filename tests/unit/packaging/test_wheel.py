# SPDX-License-Identifier: Apache-2.0
"""What is built is what was written: sdist, wheel and editable install, in clean places.

The wheel is built from the sdist, so a file missing from either shows. The libraries come
from the interpreter that runs the tests; the project itself only from what was built.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

REPO = Path(__file__).parents[3]
#: Folders in the checkout and the package that each becomes.
SOURCES = {
    "vmha_remediator": "vmha_remediator",
    "pollsters/vmha_pollsters": "vmha_pollsters",
    "alarm-templates": "vmha_alarm_templates",
}
SHIPPED = ("*.py", "*.yaml", "*.ini", "*.mako", "py.typed", "*.html", "*.js", "*.css")
LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv", ".lab*", ".*_cache", "__pycache__", "*.egg-info", "build", "dist", "*.pyc"
)

#: Run inside the installed place; prints one JSON object.
LOOK = """
import importlib.metadata as md, importlib.resources as res, json
import vmha_remediator, vmha_pollsters, vmha_alarm_templates
from vmha_remediator.rules import templates
broken = []
for point in md.distribution("vmha").entry_points:
    try:
        point.load()
    except Exception as exc:
        broken.append(f"{point.group}: {point.name} = {point.value}: {exc!r}")
store = res.files("vmha_remediator.store")
print(json.dumps({
    "files": [m.__file__ for m in (vmha_remediator, vmha_pollsters, vmha_alarm_templates)],
    "rules": [t.name for t in templates.load()],
    "broken": broken,
    "alembic": [p for p in ("alembic.ini", "migrations/env.py", "migrations/script.py.mako")
                if store.joinpath(p).is_file()],
    "revisions": len([f for f in store.joinpath("migrations/versions").iterdir()
                      if f.name.endswith(".py")]),
}))
"""


def run(*argv: str | Path, cwd: Path) -> str:
    done = subprocess.run(  # the command's words are all ours
        [str(word) for word in argv],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


def written() -> set[str]:
    """Return every file that must be shipped, by its path inside the installation."""
    found = set()
    for folder, package in SOURCES.items():
        for pattern in SHIPPED:
            for path in (REPO / folder).rglob(pattern):
                inside = path.relative_to(REPO / folder)
                if "__pycache__" not in inside.parts:
                    found.add(f"{package}/{inside.as_posix()}")
    return found


def clean_place(where: Path) -> Path:
    """Make a virtual environment that sees the libraries, but not this checkout; its Python."""
    venv.create(where, with_pip=False)
    python = where / "bin" / "python"
    own = Path(
        run(python, "-c", "import site; print(site.getsitepackages()[0])", cwd=where).strip()
    )
    # A .pth line adds the folder without obeying the .pth files (the editable install) in it.
    (own / "libraries.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return python


def pip(python: Path, *argv: str | Path) -> None:
    options = ("--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check")
    run(
        *(sys.executable, "-m", "pip", "--python", python, "install", "--force-reinstall"),
        *(*options, *argv),
        cwd=python.parent,
    )


def look(python: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        run(python, "-I", "-W", "ignore", "-c", LOOK, cwd=Path("/"))
    )
    return found


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The checkout without what was built in it before."""
    where = tmp_path_factory.mktemp("tree") / "vmha"
    shutil.copytree(REPO, where, ignore=LEFT_OUT, symlinks=True)
    yield where
    shutil.rmtree(where)


@pytest.fixture(scope="module")
def built(copy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with one sdist and the wheel that was built from it."""
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, copy, cwd=out)
    return out


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (found,) = built.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    python = clean_place(tmp_path_factory.mktemp("wheel") / "venv")
    pip(python, wheel)
    return python


def test_one_sdist_and_one_wheel(built: Path) -> None:
    assert sorted(path.suffix for path in built.iterdir()) == [".gz", ".whl"]


def test_the_wheel_holds_every_file_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == written()


def test_the_wheel_works_in_a_clean_place(installed: Path) -> None:
    found = look(installed)
    assert all(name.startswith(str(installed.parents[1])) for name in found["files"])
    assert found["rules"] == ["agent-down", "failure", "isolation", "partition", "storage-lost"]
    assert found["alembic"] == ["alembic.ini", "migrations/env.py", "migrations/script.py.mako"]
    assert found["revisions"] >= 1


def test_every_entry_point_resolves(installed: Path) -> None:
    assert look(installed)["broken"] == []


def test_the_command_runs_from_the_wheel(installed: Path) -> None:
    command = installed.parent / "vmha-manage"
    assert "usage: vmha-manage" in run(command, "--help", cwd=Path("/"))
    assert run(command, "alarms", "lint", cwd=Path("/")).startswith("6 rules can be trusted")


def test_an_editable_install_reads_the_checkout(
    copy: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    python = clean_place(tmp_path_factory.mktemp("editable") / "venv")
    pip(python, "--editable", copy)
    found = look(python)
    assert all(name.startswith(str(copy)) for name in found["files"])
    assert len(found["rules"]) == 5
    edited = copy / "alarm-templates" / "agent-down.yaml"
    edited.rename(edited.with_suffix(".off"))
    assert len(look(python)["rules"]) == 4, "an edited rule is in force without installing again"
    edited.with_suffix(".off").rename(edited)
