# SPDX-License-Identifier: Apache-2.0
"""What a Redfish BMC says of a machine, and what may be concluded from it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import sushy

from vmha_remediator.errors import FencingError
from vmha_remediator.fencing import redfish
from vmha_remediator.fencing.contract import Power
from vmha_remediator.fencing.redfish import RedfishDriver
from vmha_remediator.fencing.settings import parse_all

MINE, OTHER = "6f1f4f1c-6d0e-5c3a-9b52-0a9d6c1f7e21", "00000000-6d0e-5c3a-9b52-0a9d6c1f7e21"


@pytest.mark.parametrize("state", [*sushy.PowerState, None])
def test_only_off_is_off_whatever_lies_between(state: sushy.PowerState | None) -> None:
    """A machine that is powering off still runs its VMs, and so does one that is paused."""
    expected = Power.UNKNOWN if state is None else Power.ON
    if state is sushy.PowerState.OFF:
        expected = Power.OFF
    assert redfish._power(SimpleNamespace(power_state=state)) is expected


@pytest.mark.parametrize(
    ("found", "says"), [(OTHER, f"pin it in the hosts file: uuid: {OTHER}"), (None, "no UUID")]
)
def test_a_dry_run_says_that_any_machine_there_would_be_switched_off(
    found: str | None, says: str
) -> None:
    driver = RedfishDriver(
        "h1", parse_all(RedfishDriver.SETTINGS, {"url": "https://bmc"}) | {"timeout": 5.0}
    )
    told = driver._identity_finding(SimpleNamespace(uuid=found, path="/redfish/v1/Systems/1"))

    assert not driver.pinned
    assert told.ok
    assert "whatever answers there is switched off for h1" in told.what
    assert says in told.what


@pytest.mark.parametrize(
    ("pinned", "found", "refused"),
    [
        (None, OTHER, False),  # nothing is pinned
        (MINE, MINE, False),
        (MINE.upper(), f" {MINE} ", False),
        (MINE, OTHER, True),
        (MINE, None, True),  # a BMC that does not say is not known to be the right one
    ],
)
def test_another_machine_is_left_alone(
    pinned: str | None, found: str | None, refused: bool
) -> None:
    given = {"url": "https://bmc"} | ({"uuid": pinned} if pinned else {})
    settings = parse_all(RedfishDriver.SETTINGS, given) | {"timeout": 5.0}
    driver = RedfishDriver("h1", settings)
    system = SimpleNamespace(uuid=found, path="/redfish/v1/Systems/1")
    if not refused:
        driver._refuse_another_machine(system)
        return
    with pytest.raises(FencingError, match="belongs to another machine"):
        driver._refuse_another_machine(system)
