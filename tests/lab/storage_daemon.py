# SPDX-License-Identifier: Apache-2.0
"""One host's view of the shared storage: a FUSE pass-through whose requests can be held up.

Run as `python -m tests.lab.storage_daemon BACKING MOUNTPOINT SOCKET`. Nothing is cached (direct
I/O, no attribute or name cache), so hosts see each other's writes as on a shared disk. Locks
(flock, fcntl) are per host, as on NFS mounted with nolock.

The socket takes one JSON object a line, {"mode": ..., "ms": ..., "under": ...}, and answers
with the gate's state; an empty object only asks.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socketserver
import sys
import threading
from pathlib import Path
from typing import Any

from mfusepy import FUSE, FuseOSError, Operations

MODES = ("ok", "stall", "error", "slow", "off")
#: A stalled request keeps its thread; more of them than a host can have requests under way.
_THREADS = 512
#: Flags that are the kernel's business, not the backing file's. O_DIRECT would ask for aligned
#: buffers; what it stands for, not answering from a cache, holds here for every file.
_KERNELS = os.O_DIRECT | os.O_EXCL | os.O_CREAT | os.O_NOCTTY


class Gate:
    """Where every request passes: at once, late, never, or with an error.

    ok: at once. stall: it waits until the mode changes, and is then done. error: EIO.
    slow: after `ms`. off: the machine lost power; waiting requests fail and are *not* done.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._mode = "ok"
        self._ms = 0.0
        self._under = "/"
        self._waiting = 0

    def set(self, mode: str, ms: float = 0.0, under: str = "/") -> None:
        """Change the mode for paths below `under`; raises ValueError for an unknown mode."""
        if mode not in MODES:
            raise ValueError(f"no mode {mode!r}: one of {', '.join(MODES)}")
        with self._changed:
            self._mode, self._ms, self._under = mode, float(ms), under
            self._changed.notify_all()

    def state(self) -> dict[str, Any]:
        """Return the mode and how many requests wait now."""
        with self._changed:
            return {
                "mode": self._mode,
                "ms": self._ms,
                "under": self._under,
                "waiting": self._waiting,
            }

    def enter(self, path: str) -> None:
        """Return when the request on `path` may be done; raises EIO when it may not."""
        if self._mode == "ok":  # the common case takes no lock
            return
        with self._changed:
            if self._mode == "slow" and path.startswith(self._under):
                self._wait(self._ms / 1000)
            while self._mode == "stall" and path.startswith(self._under):
                self._wait(None)
            if self._mode in ("error", "off") and path.startswith(self._under):
                raise FuseOSError(errno.EIO)

    def _wait(self, seconds: float | None) -> None:
        self._waiting += 1
        try:
            self._changed.wait(seconds)
        finally:
            self._waiting -= 1


class PassThrough(Operations):  # type: ignore[misc]
    """Each request done on the backing folder once the gate lets it pass."""

    use_ns = True

    def __init__(self, backing: str, gate: Gate) -> None:
        self._backing = backing
        self._gate = gate

    def _real(self, path: str) -> str:
        self._gate.enter(path)
        return self._backing + path

    def getattr(self, path: str, fh: Any = None) -> dict[str, Any]:
        st = os.lstat(self._real(path))
        return {
            "st_mode": st.st_mode,
            "st_nlink": st.st_nlink,
            "st_uid": st.st_uid,
            "st_gid": st.st_gid,
            "st_size": st.st_size,
            "st_blocks": st.st_blocks,
            "st_atime": st.st_atime_ns,
            "st_mtime": st.st_mtime_ns,
            "st_ctime": st.st_ctime_ns,
        }

    def readdir(self, path: str, fh: Any) -> list[str]:
        return [".", "..", *os.listdir(self._real(path))]  # noqa: PTH208

    def statfs(self, path: str) -> dict[str, int]:
        st = os.statvfs(self._real(path))
        return {name: getattr(st, name) for name in dir(st) if name.startswith("f_")}

    def open(self, path: str, fi: Any) -> int:
        fi.fh = os.open(self._real(path), fi.flags & ~_KERNELS)
        fi.direct_io = 1
        return 0

    def create(self, path: str, mode: int, fi: Any = None) -> int:
        wanted = os.O_CREAT | (fi.flags & os.O_EXCL)
        fi.fh = os.open(self._real(path), (fi.flags & ~_KERNELS) | wanted, mode)
        fi.direct_io = 1
        return 0

    def read(self, path: str, size: int, offset: int, fi: Any) -> bytes:
        self._gate.enter(path)
        return os.pread(fi.fh, size, offset)

    def write(self, path: str, data: bytes, offset: int, fi: Any) -> int:
        # A file opened with O_APPEND appends whatever the offset says (pwrite(2), BUGS), which
        # is what two hosts need: each one's kernel has its own stale idea of the size.
        self._gate.enter(path)
        return os.pwrite(fi.fh, data, offset)

    def fsync(self, path: str, datasync: int, fi: Any) -> int:
        self._gate.enter(path)
        (os.fdatasync if datasync else os.fsync)(fi.fh)
        return 0

    def release(self, path: str, fi: Any) -> int:
        os.close(fi.fh)
        return 0

    def truncate(self, path: str, length: int, fh: Any = None) -> int:
        os.truncate(self._real(path), length)
        return 0

    def mkdir(self, path: str, mode: int) -> int:
        os.mkdir(self._real(path), mode)  # noqa: PTH102 - a request a call, no object a path
        return 0

    def rmdir(self, path: str) -> int:
        os.rmdir(self._real(path))  # noqa: PTH106
        return 0

    def unlink(self, path: str) -> int:
        os.unlink(self._real(path))  # noqa: PTH108
        return 0

    def rename(self, old: str, new: str) -> int:
        os.rename(self._real(old), self._real(new))  # noqa: PTH104
        return 0

    def link(self, target: str, source: str) -> int:
        os.link(self._real(source), self._real(target))
        return 0

    def symlink(self, target: str, source: str) -> int:
        os.symlink(source, self._real(target))  # noqa: PTH211
        return 0

    def readlink(self, path: str) -> str:
        return os.readlink(self._real(path))  # noqa: PTH115

    def chmod(self, path: str, mode: int) -> int:
        os.chmod(self._real(path), mode)  # noqa: PTH101
        return 0

    def chown(self, path: str, uid: int, gid: int) -> int:
        os.chown(self._real(path), uid, gid)
        return 0

    def utimens(self, path: str, times: tuple[int, int] | None = None) -> int:
        if times is None:
            os.utime(self._real(path))
        else:
            os.utime(self._real(path), ns=times)
        return 0


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        gate: Gate = self.server.gate  # type: ignore[attr-defined]
        for line in self.rfile:
            try:
                order = json.loads(line)
                if order:
                    gate.set(**order)
                answer: dict[str, Any] = gate.state()
            except (ValueError, TypeError) as exc:
                answer = {"error": str(exc)}
            self.wfile.write(json.dumps(answer).encode() + b"\n")


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True

    def __init__(self, path: str, gate: Gate) -> None:
        self.gate = gate
        with contextlib.suppress(FileNotFoundError):
            Path(path).unlink()
        super().__init__(path, _Handler)


def main(argv: list[str]) -> int:
    """Serve until unmounted."""
    backing, mountpoint, socket_path = argv
    gate = Gate()
    server = _Server(socket_path, gate)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        FUSE(
            PassThrough(backing, gate),
            mountpoint,
            raw_fi=True,
            foreground=True,
            fsname="vmha-lab-storage",
            attr_timeout=0,
            entry_timeout=0,
            negative_timeout=0,
            max_threads=_THREADS,
        )
    except RuntimeError as exc:  # libfuse's exit status: not clean either when told to end
        if gate.state()["mode"] != "off":
            print(f"storage daemon: libfuse ended with status {exc}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
