# SPDX-License-Identifier: Apache-2.0
"""PURE: when the watchdog is fed. All times are this host's monotonic seconds.

A watchdog may be fed for one of two reasons:

* there are *grounds*: the host's lease was renewed, or somebody whose word counts has heard it
  (`wire.Kind.VOUCH`), no longer ago than `window`;
* nobody relies on it: the host's slot has been seen to hold no promise, after the last moment
  at which an agent could have been about to write one.

Whoever reads a promise in the slot may build on the reset, so a promise that cannot be taken
back is kept: by starving.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

#: An agent that was not told "armed" for so long does not speak, or has no grounds: its promise
#: is taken back, if the storage lets us.
SILENT = 2.0
#: Writes of an agent that is gone have reached the storage, or never will, after this (s).
SETTLED = 10.0


@dataclass(frozen=True)
class Known:
    """What the feeder knows."""

    promised: float  # when an agent was last told "armed"; at first, when the feeder started
    grounds: float | None = None  # the newest that an agent told of
    gone: float | None = None  # since when no agent is connected; None: one is
    unarmed: float | None = None  # begin of the last look, if that found no promise
    settled: float | None = None  # begin of a look that found none and cannot be overtaken


@dataclass(frozen=True)
class Decision:
    """Whether to feed, whether the agent may promise, and why."""

    feed: bool
    may_promise: bool
    why: str


def decide(known: Known, now: float, window: float, closing: bool = False) -> Decision:
    """Return whether the watchdog is to be fed now, and the reason."""
    if known.grounds is not None and now - known.grounds <= window:
        return Decision(True, not closing, f"grounds {now - known.grounds:.1f} s old")
    if is_free(known, now, window):
        return Decision(True, False, "no promise is in the slot")
    if known.grounds is None:
        return Decision(False, False, "no grounds yet, and the slot may hold a promise")
    return Decision(
        False,
        False,
        f"nobody has vouched for this host for {now - known.grounds:.1f} s, and its slot holds a "
        "promise",
    )


def is_settled(known: Known) -> bool:
    """Tell whether no promise is in the slot, and nobody is left who could write one."""
    return known.settled is not None and known.settled > known.promised


def is_free(known: Known, now: float, window: float) -> bool:
    """Tell whether nobody can rely on the watchdog.

    An agent that stands still may write, when it goes on, what it had been told before; so
    while one is connected only a fresh look counts. (A promise that comes into the slot after a
    look is a renewal of the lease, too: whoever builds on it waits from then on.)
    """
    if is_settled(known):
        return True
    if known.unarmed is None or known.unarmed <= known.promised:
        return False
    if known.gone is not None and known.unarmed <= known.gone:
        return False
    return now - known.unarmed <= window


def wants_look(known: Known, now: float, closing: bool = False) -> bool:
    """Tell whether the slot is to be looked at, and a promise in it to be taken back."""
    return closing or now - known.promised > SILENT or known.gone is not None


def looked(known: Known, began: float, unarmed: bool) -> Known:
    """Return what is known after a look at the slot that began at `began`."""
    if not unarmed:  # nothing was settled, then: a write came later than any should
        return replace(known, unarmed=None, settled=None)
    over = known.gone is not None and began - known.gone >= SETTLED and began > known.promised
    return replace(known, unarmed=began, settled=began if over else known.settled)
