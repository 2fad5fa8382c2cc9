# SPDX-License-Identifier: Apache-2.0
"""`openstack vmha ...`, run as a person runs it, against the API on a real port."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lab import quick_openstack
from tests.unit.api.cloud import WELL, Cloud, room
from vmha_remediator import conf as config
from vmha_remediator.api.server import ApiServer
from vmha_remediator.remedy.states import IncidentState as S
from vmha_remediator.store import Store

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield an `openstack` that need not be imported for each call."""
    with quick_openstack.start(tmp_path_factory.mktemp("bin")) as folder:
        yield str(folder / "openstack")


@pytest.fixture
def openstack(command: str, server: ApiServer) -> Run:
    """Return a way to run `openstack WORDS` without a terminal: status, output, errors."""

    def run(*words: str, port: int = server.port) -> tuple[int, str, str]:
        login = ["--os-auth-type", "none", "--os-endpoint", f"http://127.0.0.1:{port}"]
        done = subprocess.run(
            [command, *login, *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    return run


def held(store: Store) -> int:
    epoch = store.claim_epoch("test")
    incident = store.open_incident("h2", "failure", "recover", "critical", "silent", epoch=epoch)
    sentence = "4 of 5 hosts fail at once"
    store.move(incident, S.HELD, sentence, epoch=epoch, held_by="storm", advice="look for a cause")
    return incident.id


def test_hosts_in_json(openstack: Run) -> None:
    status, out, _err = openstack("vmha", "host", "list", "-f", "json")
    assert status == 0
    hosts = json.loads(out)
    assert [(h["Host"], h["State"], h["Verdict"]) for h in hosts] == [
        ("h1", "well", None),
        ("h2", "unwell", "failure"),
        ("h3", "unknown", None),
    ]
    assert [h["Role"] for h in hosts] == ["master", None, None]
    assert hosts[1]["Network"] == "lost: heard 20.0 s ago"


def test_what_could_not_be_read_is_said_beside_the_table(openstack: Run, cloud: Cloud) -> None:
    cloud.away.add("gnocchi")
    status, _out, err = openstack("vmha", "host", "list")
    assert status == 0
    assert "Note: the measures cannot be read now: no answer in time" in err


def test_a_host_that_nobody_knows(openstack: Run) -> None:
    status, _out, err = openstack("vmha", "host", "show", "nobody")
    assert status == 1
    # Somebody else's plugin may have something to say first.
    assert err.strip().splitlines()[-1] == (
        "neither Nova nor telemetry knows a host named 'nobody'; list them: GET /v1/hosts"
    )


def test_a_held_incident_says_what_to_do_and_is_released(openstack: Run, store: Store) -> None:
    number = held(store)
    _status, out, _err = openstack("vmha", "incident", "show", str(number), "-f", "json")
    assert json.loads(out)["To do"] == "look for a cause"

    status, _out, _err = openstack("vmha", "incident", "release", str(number), "--yes")
    assert status == 0
    assert store.incident(number).waived == {"storm"}


@pytest.mark.parametrize("words", [("incident", "release", "1"), ("host", "confirm-fenced", "h2")])
def test_without_a_person_nothing_is_overruled(
    openstack: Run, store: Store, words: tuple[str, ...]
) -> None:
    number = held(store)
    status, _out, err = openstack("vmha", *words)
    assert status == 1
    assert "add --yes; nothing was done" in err
    assert not store.incident(number).released_by
    assert store.confirmation("h2") is None


def test_watching_ends_when_a_person_is_needed(openstack: Run, store: Store) -> None:
    number = held(store)
    status, out, _err = openstack("vmha", "incident", "watch", str(number))
    assert status == 3
    assert out.endswith("held: 4 of 5 hosts fail at once\nTo do: look for a cause\n")


def test_protection_shows_what_protects_each_vm(openstack: Run) -> None:
    _status, out, _err = openstack("vmha", "protection", "list", "-f", "json")
    assert [(s["Name"], s["By"]) for s in json.loads(out)] == [
        ("db", "tag vmha"),
        ("web", "tag vmha"),
    ]


def test_capacity_says_whether_any_one_host_can_fail(openstack: Run, cloud: Cloud) -> None:
    cloud.measures["h2"] = WELL
    status, out, err = openstack("vmha", "capacity", "list", "-f", "json")
    assert (status, [h["If it fails"] for h in json.loads(out)]) == (0, ["fits", "fits"])
    assert "Any one host can fail" in err

    cloud.rooms = {host: room(0) for host in cloud.rooms}
    cloud.reading = 1
    status, out, err = openstack("vmha", "capacity", "list", "-f", "json")
    assert (status, [h["Without room"] for h in json.loads(out)]) == (3, [1, 1])
    assert "Not every host can fail" in err
    _status, out, _err = openstack("vmha", "protection", "list", "--problems", "-f", "json")
    problems = [s["Problem"] for s in json.loads(out)]
    assert [p.split(":")[0] for p in problems] == [
        "has no room if h1 fails",
        "has no room if h2 fails",
    ]


def test_an_address_of_something_else_is_said(openstack: Run) -> None:
    status, _out, err = openstack("vmha", "alarm", "list", port=1)
    assert status == 1
    assert err.strip().splitlines()[-1] == (
        "the vmha API cannot be reached: Unable to establish connection to "
        "http://127.0.0.1:1/v1/alarms: Connection refused"
    )
    assert "Traceback" not in err


def test_an_endpoint_that_is_given_is_asked(openstack: Run, server: ApiServer) -> None:
    """The catalogue's address, here one where nobody answers, is not."""
    given = f"http://127.0.0.1:{server.port}"
    status, out, err = openstack(
        "--os-vmha-endpoint", given, "vmha", "host", "list", "-f", "value", port=1
    )
    assert (status, len(out.splitlines())) == (0, 3), err


def test_a_shell_can_complete_them(openstack: Run) -> None:
    status, out, _err = openstack("complete")
    assert status == 0
    assert "cmds_vmha='alarm capacity host incident maintenance protection'" in out
    assert "--patience" in next(x for x in out.splitlines() if "cmds_vmha_incident_watch=" in x)


def test_what_openstack_loads_at_every_start_is_nearly_nothing() -> None:
    code = (
        "import sys; before = set(sys.modules); import vmha_remediator.osc.plugin;"
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={"PYTHONPATH": str(Path(config.__file__).parents[2])},
    )
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    foreign = loaded - {"vmha_remediator"} - set(sys.stdlib_module_names)
    assert foreign == set()
    assert [n for n in done.stdout.split() if n.startswith("vmha_remediator")] == [
        "vmha_remediator",
        "vmha_remediator.osc",
        "vmha_remediator.osc.plugin",
    ]
