# SPDX-License-Identifier: Apache-2.0
"""A violation that happened is told; an innocent history is not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.lab.invariants import (
    Episode,
    Evacuation,
    Place,
    PowerHistory,
    Proof,
    check_disk,
    check_episodes,
    check_evacuations,
    check_masters,
    check_places,
    check_storm,
)
from tests.lab.records import parse
from tests.lab.virt.guest import SIZE, encode

VM = "8f7d5c1e-0000-4000-8000-000000000001"
OTHER_VM = "8f7d5c1e-0000-4000-8000-000000000002"
BOOT_1 = "11111111-0000-4000-8000-000000000000"
BOOT_2 = "22222222-0000-4000-8000-000000000000"
TENTH = 100_000_000  # ns


def life(
    host: str, boot: str, at: float, writes: int, *, vm: str = VM, first: int = 0
) -> list[bytes]:
    """Return the records of a guest that starts `at` (s) and writes every 100 ms."""
    start = int(at * 1e9)
    return [
        encode(vm, host, boot, start, start + n * TENTH, 1000.0 + at + n / 10, n)
        for n in range(first, first + writes)
    ]


def test_a_record_survives_the_disk() -> None:
    (line,) = life("h1", BOOT_1, 12.5, 1, first=3)

    record = parse(line)

    assert (record.vm, record.host, record.boot) == (VM, "h1", BOOT_1)
    assert (record.start, record.mono, record.seq) == (12_500_000_000, 12_800_000_000, 3)


def test_the_widest_host_name_and_numbers_keep_the_size() -> None:
    line = encode(VM, "a" * 15, BOOT_1, 10**15, 10**15, 2_000_000_000.5, 10**9)

    assert len(line) == SIZE
    assert parse(line).seq == 10**9


@pytest.mark.parametrize(
    "history",
    [
        pytest.param([], id="nothing written yet"),
        pytest.param(life("h1", BOOT_1, 1, 50), id="one writer"),
        pytest.param(life("h1", BOOT_1, 1, 50) + life("h2", BOOT_2, 20, 50), id="taken over"),
        pytest.param(
            life("h1", BOOT_1, 1, 5) + life("h2", BOOT_2, 20, 5) + life("h1", BOOT_2, 40, 5),
            id="and back again after a reboot",
        ),
        pytest.param(life("h1", BOOT_1, 1, 5) + life("h1", BOOT_1, 9, 5), id="restarted in place"),
    ],
)
def test_lawful_histories_have_no_violation(history: list[bytes]) -> None:
    assert check_disk(VM, history) == []


def test_a_stalled_write_that_lands_after_the_take_over_is_told() -> None:
    late = life("h1", BOOT_1, 1, 1, first=5)
    history = life("h1", BOOT_1, 1, 5) + life("h2", BOOT_2, 20, 5) + late

    assert check_disk(VM, history) == [
        f"VM {VM}: h1 (boot 11111111) wrote again at record 10, "
        "after h2 (boot 22222222) had taken over",
        f"VM {VM}: h1 (boot 11111111) began 19.400 s before h2 (boot 22222222) wrote last",
    ]


def test_two_hosts_writing_in_turns_are_told() -> None:
    one, two = life("h1", BOOT_1, 1, 3), life("h2", BOOT_2, 1.05, 3)
    history = [record for pair in zip(one, two, strict=True) for record in pair]

    found = check_disk(VM, history)

    assert any("h1 (boot 11111111) wrote again" in sentence for sentence in found)
    assert any("h2 (boot 22222222) wrote again" in sentence for sentence in found)


def test_two_hosts_that_ran_at_once_are_told_though_their_writes_do_not_mix() -> None:
    history = life("h1", BOOT_1, 1, 50) + life("h2", BOOT_2, 3, 5)

    assert check_disk(VM, history) == [
        f"VM {VM}: h2 (boot 22222222) began 2.900 s before h1 (boot 11111111) wrote last"
    ]


def test_two_processes_on_one_host_and_boot_are_told() -> None:
    one, two = life("h1", BOOT_1, 1, 3), life("h1", BOOT_1, 1.05, 3)
    history = [record for pair in zip(one, two, strict=True) for record in pair]

    assert any("wrote again" in sentence for sentence in check_disk(VM, history))


def test_a_lost_write_is_told() -> None:
    history = life("h1", BOOT_1, 1, 3) + life("h1", BOOT_1, 1, 1, first=4)

    assert check_disk(VM, history) == [f"VM {VM}: record 3 on h1 is number 4, after number 2"]


def test_a_foreign_guest_is_told() -> None:
    history = life("h1", BOOT_1, 1, 1, vm=OTHER_VM)

    assert check_disk(VM, history) == [f"VM {VM}: {OTHER_VM} on h1 wrote to its disk"]


def test_a_damaged_record_is_told() -> None:
    (sentence,) = check_disk(VM, [*life("h1", BOOT_1, 1, 1), b"\0" * SIZE])

    assert "record 1 of its disk is damaged" in sentence


def place(running_on: tuple[str, ...], **changes: str | None) -> Place:
    told = {"status": "ACTIVE", "task": None, "nova_host": "h1", **changes}
    return Place(VM, "db", str(told["status"]), told["task"], told["nova_host"], running_on)


def dead_with_its_host() -> Place:
    return replace(place(()), died=True)


@pytest.mark.parametrize(
    ("where", "said"),
    [
        pytest.param(place(("h1",)), [], id="where Nova says"),
        pytest.param(dead_with_its_host(), [], id="its host is off"),
        pytest.param(place((), status="SHUTOFF"), [], id="stopped"),
        pytest.param(place(("h2",), task="rebuilding"), [], id="Nova is moving it"),
        pytest.param(place(("h1", "h2")), ["runs 2 times: on h1, h2"], id="twice"),
        pytest.param(place(("h1", "h1")), ["runs 2 times: on h1, h1"], id="twice on one host"),
        pytest.param(
            place(("h1", "h2"), task="rebuilding"), ["runs 2 times"], id="twice while moved"
        ),
        pytest.param(place(("h2",)), ["runs on h2, but Nova has it on h1"], id="elsewhere"),
        pytest.param(place(()), ["is ACTIVE on h1, but does not run there"], id="not at all"),
    ],
)
def test_places(where: Place, said: list[str]) -> None:
    found = check_places([where])

    assert len(found) == len(said)
    assert all(part in sentence for part, sentence in zip(said, found, strict=True))


H1_WENT_OFF = PowerHistory({"h1": [(100.0, "on"), (500.4, "off")]})
PROVEN = Proof("h1", 500.9)


def evacuation(created: float, *, status: str = "done", number: int = 1) -> Evacuation:
    return Evacuation(VM, "h1", status, created, number)


def test_a_proven_evacuation_is_lawful() -> None:
    assert check_evacuations([evacuation(501.0)], [PROVEN], H1_WENT_OFF) == []


def test_nova_cuts_off_the_part_of_a_second() -> None:
    assert check_evacuations([evacuation(500.0)], [PROVEN], H1_WENT_OFF) == []


def test_a_retry_after_a_failed_evacuation_is_lawful() -> None:
    tries = [evacuation(501.0, status="error"), evacuation(510.0, number=2)]

    assert check_evacuations(tries, [PROVEN], H1_WENT_OFF) == []


@pytest.mark.parametrize(
    ("proofs", "why"),
    [
        pytest.param([], "no proof at all"),
        pytest.param([Proof("h2", 500.9)], "another host's"),
        pytest.param([Proof("h1", 502.1)], "it came too late"),
        pytest.param([Proof("h1", 100.0, until=200.0)], "an earlier incident's"),
    ],
)
def test_an_evacuation_without_proof_is_told(proofs: list[Proof], why: str) -> None:
    assert check_evacuations([evacuation(501.0)], proofs, H1_WENT_OFF) == [
        f"VM {VM} was evacuated from h1 without stored proof that it was off (migration 1)"
    ], why


@pytest.mark.parametrize(
    "power",
    [
        pytest.param(PowerHistory({"h1": [(100.0, "on")]}), id="it never went off"),
        pytest.param(PowerHistory({"h1": [(100.0, "on"), (502.5, "off")]}), id="later"),
        pytest.param(
            PowerHistory({"h1": [(100.0, "on"), (400.0, "off"), (480.0, "on")]}),
            id="it had come back",
        ),
    ],
)
def test_a_proof_that_was_not_true_is_told(power: PowerHistory) -> None:
    assert check_evacuations([evacuation(501.0)], [PROVEN], power) == [
        f"VM {VM} was evacuated from h1 while that host had power (migration 1)"
    ]


def test_a_vm_evacuated_twice_for_one_failure_is_told() -> None:
    twice = [evacuation(501.0), evacuation(520.0, number=2)]

    assert check_evacuations(twice, [PROVEN], H1_WENT_OFF) == [
        f"VM {VM} was evacuated 2 times for one failure of h1"
    ]


FAILURE = Episode(7, "h1", "failure", True, 490.0, 600.0, 500.9, (VM,), (), ())
ISOLATION = replace(FAILURE, rule="isolation", recovers=False, proof=None, touched=())


def test_a_failure_that_fenced_and_evacuated_is_lawful() -> None:
    assert check_episodes([FAILURE], [(495.0, "h1")]) == []


@pytest.mark.parametrize(
    ("episode", "said"),
    [
        pytest.param(
            replace(ISOLATION, touched=(VM,)),
            f"incident 7 (isolation of h1) only reports, but evacuated {VM}",
            id="evacuated",
        ),
        pytest.param(
            replace(ISOLATION, proof=495.0),
            "incident 7 (isolation of h1) only reports, but fenced the host",
            id="fenced",
        ),
        pytest.param(
            replace(FAILURE, unexplained=("db",)),
            "incident 7 (failure of h1): db is pending without a reason",
            id="pending without a reason",
        ),
        pytest.param(
            replace(FAILURE, unreported=("became held",)),
            "incident 7 (failure of h1): nobody was told that it became held",
            id="a change nobody was told of",
        ),
    ],
)
def test_an_incident_that_went_too_far_or_said_too_little_is_told(
    episode: Episode, said: str
) -> None:
    assert check_episodes([episode], []) == [said]


@pytest.mark.parametrize(
    ("episodes", "why"),
    [
        pytest.param([], "no incident"),
        pytest.param([ISOLATION], "one that only reports"),
        pytest.param([replace(FAILURE, host="h2")], "another host's"),
        pytest.param([replace(FAILURE, opened=496.0)], "opened later"),
        pytest.param([replace(FAILURE, closed=494.0)], "closed before"),
    ],
)
def test_a_power_off_without_a_failure_is_told(episodes: list[Episode], why: str) -> None:
    assert check_episodes(episodes, [(495.0, "h1")]) == [
        "h1 was powered off through its BMC without a failure of it"
    ], why


def test_two_hosts_fenced_at_once_are_a_storm() -> None:
    second = replace(FAILURE, number=8, host="h2", proof=550.0)

    assert check_storm([FAILURE, second], 2) == []
    assert check_storm([FAILURE, second], 1) == [
        "2 hosts were fenced at once (h1, h2), when incident 8 fenced h2; the limit is 1"
    ]


@pytest.mark.parametrize(
    "second",
    [
        pytest.param(replace(FAILURE, host="h2", proof=601.0), id="one after the other"),
        pytest.param(replace(FAILURE, host="h2", proof=550.0, allowed=True), id="allowed"),
        pytest.param(replace(FAILURE, host="h2", proof=None), id="held, not fenced"),
        pytest.param(replace(FAILURE, number=8, proof=550.0), id="the same host again"),
    ],
)
def test_what_is_no_storm(second: Episode) -> None:
    assert check_storm([FAILURE, second], 1) == []


def test_agents_that_follow_two_masters_are_told() -> None:
    assert check_masters({"h1": "h1", "h2": "h1"}) == []
    assert check_masters({}) == []
    assert check_masters({"h1": "h1", "h2": "h2"}) == [
        "the agents do not agree on one master: h1 follows h1, h2 follows h2"
    ]
