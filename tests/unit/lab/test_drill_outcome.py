# SPDX-License-Identifier: Apache-2.0
"""What came of a fault is judged: what is missing, what is too much, what was touched."""

from __future__ import annotations

from dataclasses import replace

from tests.lab.drill.outcome import Seen, nothing, problems, recovery, told
from tests.lab.snapshot import HostView, IncidentView, Snapshot, VmView

WELL = {"failure": "ok", "partition": "ok"}


def vm(name: str, host: str, tagged: bool = True) -> VmView:
    return VmView(name, name, tagged, host, "ACTIVE", None, (host,), 0.1, host)


def incident(host: str, rule: str, state: str) -> IncidentView:
    return IncidentView("1", host, rule, state, ((0.0, state, f"{rule} of {host} it is"),))


VMS = (vm("a", "h1"), vm("plain", "h1", tagged=False), vm("b", "h2"))
BEFORE = Snapshot(0.0, tuple(HostView(h, "on", {}, WELL, "up") for h in ("h1", "h2")), VMS)


def seen(*shots: Snapshot) -> Seen:
    found = Seen(BEFORE)
    for shot in shots:
        found.note(shot)
    return found


def moved(name: str, to: str) -> Snapshot:
    vms = (replace(v, host=to, running_on=(to,)) if v.name == name else v for v in VMS)
    return replace(BEFORE, vms=tuple(vms))


def test_one_report_and_nothing_touched_is_right() -> None:
    reported = [incident("h1", "partition", "reported")]
    assert problems(told("partition"), "h1", seen(BEFORE), reported) == []


def test_a_report_that_did_not_come_is_missed() -> None:
    assert problems(told("partition"), "h1", seen(BEFORE), []) == ["missed: no partition"]


def test_a_report_of_another_host_is_uncalled_for() -> None:
    reported = [incident("h1", "partition", "reported"), incident("h2", "partition", "reported")]
    assert problems(told("partition"), "h1", seen(BEFORE), reported) == [
        "uncalled-for report: partition of h2 (partition of h2 it is)"
    ]


def test_two_reports_of_one_thing_are_one_too_many() -> None:
    reported = [incident("h1", "partition", "cleared"), incident("h1", "partition", "reported")]
    assert problems(told("partition"), "h1", seen(BEFORE), reported) == [
        "2 incidents of partition where one was due"
    ]


def test_of_the_cluster_is_not_of_the_host() -> None:
    reported = [incident("*", "storage-outage", "reported")]
    due = told("storage-outage", of_cluster=True)
    assert problems(due, "h1", seen(BEFORE), reported) == []
    assert problems(told("storage-outage"), "h1", seen(BEFORE), reported) != []


def test_what_may_come_need_not() -> None:
    perhaps = nothing("isolation")
    assert problems(perhaps, "h1", seen(BEFORE), []) == []
    assert problems(perhaps, "h1", seen(BEFORE), [incident("h1", "isolation", "reported")]) == []


def test_a_failure_is_false_even_where_reports_may_come() -> None:
    (problem,) = problems(nothing("failure"), "h1", seen(), [incident("h1", "failure", "cleared")])
    assert problem.startswith("false failure: failure of h1")


def test_an_alarm_that_fired_for_a_moment_is_a_false_failure() -> None:
    fired = HostView("h2", "on", {}, {"failure": "alarm"}, "up")
    looks = seen(replace(BEFORE, hosts=(fired,)), BEFORE)
    assert problems(nothing(), "h1", looks, []) == [
        "false failure: h2 was called failed (Aodh's alarm fired)"
    ]


def test_so_is_what_the_rules_say_of_the_measures() -> None:
    looks = Seen(BEFORE)
    looks.note(BEFORE, [("h1", "well", "every rule is ok"), ("h2", "failure", "silent")])
    assert problems(nothing(), "h1", looks, []) == ["false failure: h2 was called failed (silent)"]


def test_in_a_failure_of_its_host_it_is_none() -> None:
    looks = Seen(BEFORE)
    looks.note(moved("a", "h2"), [("h1", "failure", "silent")])
    recovered = [incident("h1", "failure", "recovered")]
    assert problems(recovery(), "h1", looks, recovered) == []


def test_a_failure_that_is_held_is_no_recovery() -> None:
    held = [incident("h1", "failure", "held")]
    assert problems(recovery(), "h1", seen(), held) == [
        "failure is held: failure of h1 it is",
        "a was not moved",
    ]


def test_an_unprotected_vm_and_one_of_another_host_stay() -> None:
    recovered = [incident("h1", "failure", "recovered")]
    found = problems(recovery(), "h1", seen(moved("a", "h2"), moved("plain", "h2")), recovered)
    assert found == ["plain was moved from h1 to h2"]
    found = problems(recovery(), "h1", seen(moved("a", "h2"), moved("b", "h1")), recovered)
    assert found == ["b was moved from h2 to h1"]


def test_a_vm_that_runs_twice_or_falls_silent_is_told() -> None:
    twice = replace(VMS[0], running_on=("h1", "h2"))
    mute = replace(VMS[2], last_write=7.0)
    looks = seen(replace(BEFORE, vms=(twice, mute)))
    assert problems(nothing(), "h1", looks, []) == [
        "a ran twice: on h1, h2",
        "b wrote nothing for 7.0 s",
    ]
    assert problems(nothing(writes=False), "h1", looks, []) == ["a ran twice: on h1, h2"]
