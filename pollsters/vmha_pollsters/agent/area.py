# SPDX-License-Identifier: Apache-2.0
"""`vmha-agent init` and `vmha-agent dump`: make a slots area, look into one."""

from __future__ import annotations

import os
import stat
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vmha_pollsters.agent.storage.slotfile import SlotFile, beginning
from vmha_pollsters.agent.storage.table import check_header, read_table
from vmha_pollsters.lease.layout import (
    BLOCK,
    FIRST_HOST,
    HEADER_MAGIC,
    MAX_HOSTS,
    ZEROS,
    Flag,
    Header,
    pack_header,
)
from vmha_remediator.errors import LeaseError

#: Longer than any agent of the default interval needs to renew its lease once.
LIVE_CHECK = 6.0
#: Bytes that are looked at for somebody else's data: some filesystems begin as late as 64 KiB.
LOOK_AHEAD = 1 << 20


def init(
    path: str,
    hosts: int,
    cluster: str,
    force: bool = False,
    sleep: Callable[[float], None] = time.sleep,
) -> Header:
    """Format `path` for `hosts` hosts and return its header.

    A missing file is made. What is there is kept unless `force` is given, and an area whose
    slots are being renewed is kept always. Raises `LeaseError`, OSError.
    """
    if not 1 <= hosts <= MAX_HOSTS:
        raise LeaseError(f"--hosts must be 1 to {MAX_HOSTS}, not {hosts}")
    header = Header(cluster, uuid.uuid4(), hosts, time.time())
    try:
        first = pack_header(header)
    except ValueError as exc:
        raise LeaseError(f"--cluster: {exc}") from exc
    size = (FIRST_HOST + hosts) * BLOCK
    _refuse_if_used(path, force, sleep)
    _make_room(path, size)
    blocks = SlotFile(path)
    try:
        blocks.write(0, ZEROS)  # no agent mistakes a half-made area for a whole one
        blocks.wipe(1, FIRST_HOST + hosts - 1)
        blocks.write(0, first)
    finally:
        blocks.close()
    return header


def _refuse_if_used(path: str, force: bool, sleep: Callable[[float], None]) -> None:
    file = Path(path)
    if not file.exists() or (file.is_file() and file.stat().st_size == 0):
        return
    start = beginning(path, LOOK_AHEAD)
    if not start.startswith(HEADER_MAGIC):
        if start.strip(b"\0") and not force:
            raise LeaseError(f"{path} holds other data; --force overwrites it")
        return
    if not force:
        raise LeaseError(f"{path} is a slots area already; --force makes it anew, if it is idle")
    blocks = SlotFile(path)
    try:
        cluster = check_header(blocks.read(0, 1)).cluster
        before = read_table(blocks, None, cluster, 0)
        sleep(LIVE_CHECK)
        after = read_table(blocks, None, cluster, 0)
    except LeaseError:
        return  # damaged: nobody can be using it
    finally:
        blocks.close()
    live = [
        slot.host
        for index, slot in after.slots.items()
        if index not in before.slots or before.slots[index].version != slot.version
    ]
    if live:
        raise LeaseError(f"{path} is in use: {', '.join(live)} renewed a lease just now")


def forget(path: str, host: str, sleep: Callable[[float], None] = time.sleep) -> int:
    """Free the slot of a host that is gone for good and return its number.

    Raises `LeaseError` when there is no such host, or its lease is being renewed.
    """
    blocks = SlotFile(path)
    try:
        cluster = check_header(blocks.read(0, 1)).cluster
        before = read_table(blocks, None, cluster, 0)
        found = [slot for slot in before.slots.values() if slot.host == host]
        if not found:
            raise LeaseError(f"{path} has no slot of host '{host}'")
        sleep(LIVE_CHECK)
        after = read_table(blocks, None, cluster, 0)
        for slot in found:
            now = after.slots.get(slot.index)
            if now is None or now.version != slot.version:
                raise LeaseError(f"host '{host}' is alive: its lease was renewed just now")
        for slot in found:
            blocks.write(FIRST_HOST + slot.index, ZEROS)
    finally:
        blocks.close()
    return found[0].index


def _make_room(path: str, size: int) -> None:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if stat.S_ISREG(os.fstat(fd).st_mode):
            os.posix_fallocate(fd, 0, size)
        elif os.lseek(fd, 0, os.SEEK_END) < size:
            raise LeaseError(f"{path} has less than the {size} bytes needed")
    except OSError as exc:  # posix_fallocate does not say of which file
        raise OSError(exc.errno, exc.strerror, path) from exc
    finally:
        os.close(fd)


def dump(path: str) -> dict[str, Any]:
    """Return everything in the area at `path`; raises `LeaseError`, OSError."""
    blocks = SlotFile(path)
    try:
        cluster = check_header(blocks.read(0, 1)).cluster
        table = read_table(blocks, None, cluster, 0)
    finally:
        blocks.close()
    roster = table.roster
    return {
        "header": {
            "cluster": table.header.cluster,
            "uuid": str(table.header.uuid),
            "hosts": table.header.hosts,
            "created": table.header.created,
        },
        "direct_io": blocks.direct,
        "roster_problem": table.roster_problem,
        "roster": None
        if roster is None
        else {
            "master": roster.master,
            "witnesses": list(roster.witnesses),
            "members": sorted(roster.members),
            "term": roster.term,
            "sequence": roster.sequence,
            "written": roster.written,
        },
        "slots": [
            {
                "slot": index,
                "host": slot.host,
                "address": slot.address,
                "boot_id": str(slot.boot_id),
                "generation": slot.generation,
                "sequence": slot.sequence,
                "priority": slot.priority,
                "flags": [f.name.lower() for f in Flag if f in slot.flags and f.name],
                "written": slot.wall,
                "watchdog_timeout": slot.watchdog_timeout,
                "watchdog_promise": slot.watchdog_promise,
                "views": {
                    str(n): {"heard": v.heard, "lease": v.lease, "probe": v.probe.name.lower()}
                    for n, v in enumerate(slot.views)
                    if n in table.slots
                },
            }
            for index, slot in sorted(table.slots.items())
        ],
        "damaged": {str(index): why for index, why in sorted(table.damaged.items())},
    }
