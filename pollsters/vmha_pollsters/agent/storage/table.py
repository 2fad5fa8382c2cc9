# SPDX-License-Identifier: Apache-2.0
"""One look at the slots area: header, roster and slots in few large reads."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence

from vmha_pollsters.agent.storage.cache import Cache, Found
from vmha_pollsters.agent.storage.slotfile import CHUNK, Blocks
from vmha_pollsters.lease.contract import Table
from vmha_pollsters.lease.layout import (
    BLOCK,
    FIRST_HOST,
    Damaged,
    Header,
    Roster,
    unpack_header,
    unpack_roster,
)
from vmha_remediator.errors import LeaseError

#: Blocks that lie at most so far apart are fetched in one read: bytes are cheap, requests not.
NEAR = 16


def check_header(data: bytes | memoryview, cluster: str | None = None) -> Header:
    """Return the header in block 0; raises `LeaseError` if damaged or another cluster's."""
    try:
        header = unpack_header(data)
    except Damaged as exc:
        raise LeaseError(f"{exc}; run 'vmha-agent init' if this area is new") from exc
    if cluster is not None and header.cluster != cluster:
        raise LeaseError(
            f"the slots belong to cluster '{header.cluster}', [agent] cluster is '{cluster}'"
        )
    return header


def read_table(
    blocks: Blocks,
    hosts: Iterable[int] | None,
    cluster: str,
    known: int,
    cache: Cache | None = None,
) -> Table:
    """Read header, roster and the slots of `hosts` (None: all) and return them.

    `known` is the number of slots as read before (0: not yet): then all of them are fetched in
    few large reads, and a few in as few reads as they have neighbourhoods. `cache` keeps what
    was unpacked for the next call.
    Raises OSError, or `LeaseError` when the header is damaged or another cluster's.
    """
    started = time.monotonic()
    if not known:
        known = check_header(blocks.read(0, 1), cluster).hosts
    wanted: Sequence[int] = range(FIRST_HOST + known)
    if hosts is not None:
        wanted = [0, 1, *sorted(FIRST_HOST + n for n in {*hosts} if n < known)]
    cache = cache or Cache()
    header: Header | None = None
    roster: Roster | None = None
    problem: str | None = None
    found = Found()
    # Taken in while they are fetched: a table of 2000 hosts need not be in memory twice.
    for run in _runs(wanted):
        data = memoryview(blocks.read(run[0], run[-1] - run[0] + 1))
        if header is None:  # the first two blocks come first
            header, run = check_header(data[:BLOCK], cluster), run[2:]
            if header.hosts != known:  # made anew with another geometry
                return read_table(blocks, hosts, cluster, header.hosts, cache)
            roster, problem = _roster_in(data[BLOCK : 2 * BLOCK], header)
            some = cache.take(run, 0, data, header.uuid)
        else:
            some = cache.take(run, run[0], data, header.uuid)
        found.slots |= some.slots
        found.sequences |= some.sequences
        found.damaged |= some.damaged
        found.strays |= some.strays
    assert header is not None
    return Table(
        started,
        time.monotonic(),
        header,
        roster,
        found.slots,
        found.sequences,
        found.damaged,
        problem,
        frozenset(found.strays),
        cache.edition,
    )


def _runs(numbers: Sequence[int]) -> Iterator[Sequence[int]]:
    """Yield these ascending numbers of blocks in parts: those close together are one read."""
    if isinstance(numbers, range):  # all, without a gap
        yield from (numbers[n : n + CHUNK] for n in range(0, len(numbers), CHUNK))
        return
    begin = 0
    for place in range(1, len(numbers) + 1):
        if (
            place == len(numbers)
            or numbers[place] - numbers[place - 1] > NEAR
            or numbers[place] - numbers[begin] >= CHUNK
        ):
            yield numbers[begin:place]
            begin = place


def _roster_in(block: memoryview, header: Header) -> tuple[Roster | None, str | None]:
    """Return the roster, or what is wrong with it."""
    try:
        return unpack_roster(block, header.uuid), None
    except Damaged as exc:
        return None, str(exc)
