# SPDX-License-Identifier: Apache-2.0
"""Every command in the documents that needs a cloud, run on the real one as a reader would."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.document_runs import PLANS, InLab
from tests.lab import guests, layout, process, quick_openstack
from tests.lab.suite.conftest import Cloud

pytestmark = pytest.mark.lab

#: What is run in one shell, in order: the commands of a story, or a single one.
STORIES: dict[str, dict[str, InLab]] = {}
for _text, _plan in PLANS.items():
    if isinstance(_plan, InLab):
        STORIES.setdefault(_plan.story or _text, {})[_text] = _plan
SIDE_BY_SIDE = 3
TIMEOUT = 180.0  # s for one story; the cores are shared
HOST = layout.HOSTS[0]
CONF = layout.ETC / "vmha.conf"


def places(vm: str, incident: str) -> Mapping[str, str]:
    """Return what the documents' words stand for here: regular expression -> word."""
    agent = layout.host_dir(HOST) / "etc/vmha-agent.conf"
    return {
        r"\bHOST\b|\bcompute-1\b": HOST,
        r"http://CONTROLLER:8778": layout.url("vmha"),
        r"\bSERVER\b|\b(web|db|cache)-1\b": vm,
        r"(?<= )(ID|7)(?= |$)": incident,
        r"\bm1\.ha\b": "m1.tiny",
        r"\bdebian-ha\b": "tiny",
        r"(?<= )\.lab/etc|(?<==)\.lab/etc": str(layout.ETC),
        r" /etc/vmha/vmha\.conf": f" {CONF}",
        r"/etc/(nova|gnocchi|aodh|ceilometer)/": rf"{layout.ETC}/\1/",
        r"^vmha-manage (?!--config-file)": f"vmha-manage --config-file {CONF} ",
        r"^vmha-agent ": f"vmha-agent --config-file {agent} ",
    }


#: 1 is a refusal in plain words, 3 an answer that somebody should act upon.
REFUSABLE = "{{ {}; }} || case $? in 1|3) ;; *) exit 1 ;; esac"


def script(story: Mapping[str, InLab], words: Mapping[str, str]) -> str:
    """Return a shell script of the commands; what may be refused is refused in order."""

    def here(text: str) -> str:
        for pattern, word in words.items():
            text = re.sub(pattern, word, text)
        return text

    lines, after = [], []
    for text, plan in story.items():
        for old, new in plan.instead:
            text = text.replace(old, new)
        command = here(f"{text} {plan.add}".strip())
        lines.append(REFUSABLE.format(command) if plan.refusable else command)
        after += [here(command) for command in plan.after]
    trap = f"trap '{'; '.join(after)}' EXIT" if after else ""
    return "\n".join(["set -eu", trap, *lines])


@pytest.fixture(scope="module")
def outcomes(
    _cloud: Cloud, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[str, Future[tuple[int, str]]]]:
    """Begin all stories, some side by side, once the cloud is calm."""
    _cloud.calm()
    plain = next(vm for vm in _cloud.look().vms if not vm.tagged).id
    latest = max((i.id for i in _cloud.observer.store.incidents()), default=1)
    words = places(plain, str(latest))
    environment = process.environment() | {
        "OS_CLIENT_CONFIG_FILE": str(layout.ETC / "clouds.yaml"),
        "OS_CLOUD": "lab-admin",
    }

    def run(text: str) -> tuple[int, str]:
        done = subprocess.run(
            ["bash", "-c", text], cwd=layout.REPO, env=environment, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            timeout=TIMEOUT, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout

    folder = tmp_path_factory.mktemp("bin")
    with quick_openstack.start(folder), ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        environment["PATH"] = f"{folder}:{layout.VENV_BIN}:{os.environ['PATH']}"
        begun: dict[str, Future[tuple[int, str]]] = {}  # what reads alike here is run once
        for story in STORIES.values():
            text = script(story, words)
            if text not in begun:
                begun[text] = pool.submit(run, text)
        yield {name: begun[script(story, words)] for name, story in STORIES.items()}


@pytest.mark.parametrize("name", STORIES)
def test_it_runs(name: str, outcomes: Mapping[str, Future[tuple[int, str]]]) -> None:
    status, said = outcomes[name].result()
    assert status == 0, said
    assert "Traceback" not in said, said
    for plan in STORIES[name].values():
        assert plan.says in said, said


def test_nothing_is_left_behind(
    _cloud: Cloud, outcomes: Mapping[str, Future[tuple[int, str]]]
) -> None:
    for outcome in outcomes.values():
        outcome.result()
    assert not [found for found in guests.servers() if "vmha:restart" in found["metadata"]]
    assert _cloud.observer.store.maintenance() == {}
