# SPDX-License-Identifier: Apache-2.0
"""PURE: how old what a witness goes by may be."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Times in seconds; see `limits()` for where they come from."""

    hears: float  # a peer heard less long ago than this is being heard
    lease_live: float  # a lease renewed less long ago than this is live
    own_write: float  # my last renewal has to be younger
    own_read: float  # my last look at the table has to be younger
    view: float  # another witness's slot has to be younger for its view to count
    settle: float  # after start or a pause, listen this long before speaking
    settle_read: float  # and read the slots for so long: storage may come back to me first
    clock: float  # largest offset from the median of the peers' clocks
    suspect_heard: float  # from this heartbeat age on a host is published at once
    suspect_lease: float  # from this lease age on, too
    roster_stale: float  # a roster unchanged for longer has no master
    grace: float  # a witness may be unqualified this long before it is replaced


def limits(heartbeat: float = 1.0, lease: float = 2.0) -> Limits:
    """Return the limits for these two intervals (seconds between beats and renewals).

    A peer is heard while at most three beats in a row are lost, a lease is live for four
    renewals (as long as the rules' default threshold), a clock may be 1 s off (Gnocchi drops
    late points without a word, so a witness with a wrong clock blinds a metric).
    """
    return Limits(
        hears=4.0 * heartbeat,
        lease_live=4.0 * lease,
        own_write=2.5 * lease,
        own_read=1.5 * lease,
        view=2.5 * lease,
        settle=3.0 * heartbeat,
        settle_read=2.0 * lease,
        clock=1.0,
        suspect_heard=2.0 * heartbeat,
        suspect_lease=2.0 * lease,
        roster_stale=3.0 * lease,
        grace=5.0 * lease,
    )
