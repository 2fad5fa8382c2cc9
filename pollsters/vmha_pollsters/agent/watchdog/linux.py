# SPDX-License-Identifier: Apache-2.0
"""The kernel's watchdog, /dev/watchdog (Documentation/watchdog/watchdog-api.rst)."""

from __future__ import annotations

import errno
import fcntl
import os
import platform
import struct
from typing import Any, ClassVar

from vmha_remediator.errors import WatchdogError

_INT = struct.Struct("i")
_INFO = struct.Struct("II32s")  # options, firmware version, identity
_READ, _WRITE = 2, 1
#: On these machines the direction has three bits and other values (asm/ioctl.h).
_OLD_STYLE = ("ppc", "mips", "sparc")
#: WDIOF_MAGICCLOSE: a "V" written before the close stops the watchdog.
MAGIC_CLOSE = 0x0100


def ioctl_number(direction: int, number: int, size: int, machine: str) -> int:
    """Return the request number of ioctl 'W' `number` (linux/watchdog.h) on `machine`."""
    if machine.startswith(_OLD_STYLE):
        direction = {_READ: 2, _READ | _WRITE: 6}[direction]
        return direction << 29 | size << 16 | ord("W") << 8 | number
    return direction << 30 | size << 16 | ord("W") << 8 | number


_MACHINE = platform.machine()
GET_SUPPORT = ioctl_number(_READ, 0, _INFO.size, _MACHINE)
KEEP_ALIVE = ioctl_number(_READ, 5, _INT.size, _MACHINE)
SET_TIMEOUT = ioctl_number(_READ | _WRITE, 6, _INT.size, _MACHINE)
GET_TIMEOUT = ioctl_number(_READ, 7, _INT.size, _MACHINE)


class LinuxWatchdog:
    """A watchdog device of the kernel."""

    name: ClassVar[str] = "linux"

    def __init__(self, settings: Any) -> None:
        self._path: str = settings.watchdog_device
        self._wanted = max(1, round(settings.watchdog_timeout))
        self._fd = -1

    def arm(self) -> float:
        """Open the device, ask for the time-out wanted, and return the one that it then has.

        A device that cannot be set keeps its own. Opening it starts it.
        """
        if self._fd < 0:
            try:
                self._fd = os.open(self._path, os.O_WRONLY | os.O_CLOEXEC)
            except OSError as exc:
                raise self._error("cannot be opened", exc) from exc
        try:
            self._ioctl(SET_TIMEOUT, _INT.pack(self._wanted))
        except OSError as exc:
            if exc.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOTTY):
                raise self._error("refuses its time-out", exc) from exc
        try:
            (timeout,) = _INT.unpack(self._ioctl(GET_TIMEOUT, bytes(_INT.size)))
        except OSError as exc:
            # It runs, and nobody knows for how long: stop it, nothing was promised yet.
            self.disarm()
            raise self._error("does not tell its time-out", exc) from exc
        if timeout <= 0:
            self.disarm()
            raise WatchdogError(f"watchdog {self._path} says that its time-out is {timeout} s")
        return float(timeout)

    def feed(self) -> None:
        """Keep it alive."""
        try:
            self._ioctl(KEEP_ALIVE, bytes(_INT.size))
        except OSError as exc:
            raise self._error("cannot be fed", exc) from exc

    def disarm(self) -> None:
        """Close it with the magic character; with `nowayout` it runs on all the same."""
        if self._fd < 0:
            return
        try:
            os.write(self._fd, b"V")
        except OSError as exc:
            raise self._error("cannot be stopped", exc) from exc
        finally:
            os.close(self._fd)
            self._fd = -1

    def stoppable(self) -> bool:
        """Tell whether the device says that it can be stopped."""
        try:
            options, _, _ = _INFO.unpack(self._ioctl(GET_SUPPORT, bytes(_INFO.size)))
        except OSError as exc:
            raise self._error("does not tell what it can do", exc) from exc
        return bool(options & MAGIC_CLOSE)

    def _ioctl(self, request: int, argument: bytes) -> bytes:
        return fcntl.ioctl(self._fd, request, argument)

    def _error(self, what: str, exc: OSError) -> WatchdogError:
        return WatchdogError(f"watchdog {self._path} {what}: {exc.strerror}")
