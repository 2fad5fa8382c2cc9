# SPDX-License-Identifier: Apache-2.0
"""A flood of refusals is logged in part, and the rest is counted."""

from __future__ import annotations

from vmha_remediator.api.problem import Quota


def test_the_first_lines_pass_and_the_rest_is_counted_by_kind() -> None:
    now = [0.0]
    quota = Quota(lines=2, seconds=10.0, clock=lambda: now[0])

    assert [quota.passes("forged") for _ in range(5)] == [0, 0, None, None, None]
    assert quota.passes("unsigned") == 0

    now[0] = 10.0
    assert [quota.passes("forged") for _ in range(3)] == [3, 0, None]

    now[0] = 40.0
    assert quota.passes("forged") == 1
    now[0] = 60.0
    assert quota.passes("forged") == 0
