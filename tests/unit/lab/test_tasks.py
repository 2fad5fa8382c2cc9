# SPDX-License-Identifier: Apache-2.0
"""Tasks run after what they need, and a failure stops what was not begun."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.lab import cloud
from tests.lab.errors import LabError
from tests.lab.tasks import Task, run

#: What would break, or be noisy, the other way round.
ORDER = (
    ("schemas", "keystone"),
    ("keystone", "nova"),
    ("users and catalogue", "aodh-evaluator"),
    ("telemetry setup", "hosts"),
    ("hosts", "alarms"),
    ("remediator", "alarms"),
)


def silent(task: str, state: str, note: str, seconds: float) -> None:
    """Report nothing."""


def test_a_task_runs_after_all_that_it_needs() -> None:
    order: list[str] = []

    def doing(name: str, *needs: str) -> Task:
        return Task(name, lambda: order.append(name), needs)

    run([doing("c", "a", "b"), doing("b", "a"), doing("a"), doing("d", "c")], silent)
    assert order == ["a", "b", "c", "d"]


def test_what_is_done_is_reported_with_its_note() -> None:
    seen: list[tuple[str, str, str]] = []
    run([Task("a", lambda: "made")], lambda t, state, note, _: seen.append((t, state, note)))
    assert seen == [("a", "running", ""), ("a", "done", "made")]


def test_after_a_failure_nothing_new_begins() -> None:
    def fail() -> None:
        raise LabError("port 3306 is taken")

    order: list[str] = []
    tasks = [Task("a", fail), Task("b", lambda: order.append("b"), ("a",))]
    with pytest.raises(LabError, match="port 3306 is taken"):
        run(tasks, silent)
    assert order == []


@pytest.mark.parametrize("needs", [("b",), ("nothing like it",)])
def test_tasks_that_can_never_run_are_refused(needs: tuple[str, ...]) -> None:
    with pytest.raises(LabError, match="wait for each other"):
        run([Task("a", lambda: None, needs), Task("b", lambda: None, ("a",))], silent)


def test_the_whole_lab_can_run_in_some_order() -> None:
    order: list[str] = []
    real = cloud.tasks() + cloud.beyond()
    run([Task(t.name, _noting(order, t.name), t.needs) for t in real], silent, workers=1)
    assert len(order) == len(set(order)) == len(real)
    assert order[0] == "bridge and files"
    for first, then in ORDER:
        assert order.index(first) < order.index(then)


def _noting(order: list[str], name: str) -> Callable[[], None]:
    return lambda: order.append(name)


def test_a_services_own_error_becomes_a_sentence_that_names_the_task() -> None:
    def refused() -> None:
        raise ConnectionRefusedError(111, "Connection refused")

    with pytest.raises(LabError, match=r"^image: .*Connection refused"):
        run([Task("image", refused)], silent)
