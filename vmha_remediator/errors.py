# SPDX-License-Identifier: Apache-2.0
"""One tree of errors; the edges (API, commands, loop) translate them for people."""

import re

#: What an answer of another shape than it should have ends in, when it is taken apart.
MALFORMED = (ValueError, KeyError, TypeError, AttributeError, IndexError)
#: How requests tells of a connection that came to nothing, and where in it the reason is.
_TAG = re.compile(r"<[^>]*>")
_POOL = re.compile(r"HTTPS?ConnectionPool\(.*?\): .*", re.DOTALL)
_ERRNO = re.compile(r"\[Errno -?\d+\] ([^\"'()\]]+)")
_CAUSE = re.compile(r"\(Caused by \w+\((.*)\)\)", re.DOTALL)


def in_short(exc: BaseException, longest: int = 300) -> str:
    """Return an exception's text on one line, of at most `longest` characters.

    Of a connection that failed the reason is left, without the libraries' account of its way up,
    and of a proxy's page its words.
    """
    text = " ".join(_TAG.sub(" ", str(exc)).split())
    text = _POOL.sub(lambda found: _reason(found[0]), text)
    text = text or type(exc).__name__
    return text if len(text) <= longest else text[: longest - 3] + "..."


def _reason(account: str) -> str:
    found = _ERRNO.search(account) or _CAUSE.search(account)
    return found[1].strip() if found else account


class VmhaError(Exception):
    """Anything that this project raises on purpose; its text is fit for an operator."""


class ConfigError(VmhaError):
    """The configuration cannot work; the text names the option and the way out."""


class RuleError(VmhaError):
    """A rule template is wrong; the text names the file, the place and the reason."""


class ServiceUnavailable(VmhaError):
    """A service did not answer, answered too late, or answered nonsense."""


class TelemetryUnavailable(ServiceUnavailable):
    """Gnocchi or Aodh cannot be read now."""


class CloudUnavailable(ServiceUnavailable):
    """Keystone or Nova cannot be reached now."""


class StillReading(CloudUnavailable):
    """What was asked for takes long and is being read; it is there in a few seconds."""


class CloudRefused(VmhaError):
    """Nova understood the request and said no."""


class OtherCell(CloudRefused):
    """Nova will not evacuate to a host, for that is in another cell than the VM."""

    def __init__(self, host: str, answer: object) -> None:
        super().__init__(
            f"{host} is in another cell than the VM: Nova evacuates within one cell only "
            f"({answer})"
        )
        self.host = host


class StoreUnavailable(ServiceUnavailable):
    """The incident database cannot be reached now."""


class FencingError(VmhaError):
    """A fencing driver failed; nothing is proven by it."""


class IllegalTransition(VmhaError):
    """An incident was asked to make a move that the state table does not list."""


class StaleEpoch(VmhaError):
    """Somebody else leads now; this engine's write was refused."""


class IncidentError(VmhaError):
    """There is no such incident, or it is not in a state for what was asked."""


class NoSuchIncident(IncidentError):
    """Nobody has ever opened an incident of that number, or it has been purged."""


class NoSuchHost(VmhaError):
    """Neither Nova nor telemetry knows a host of that name."""


class IncidentChanged(VmhaError):
    """Somebody else has written the incident since it was read; read it again."""


class SignatureError(VmhaError):
    """A webhook's signature does not fit its rule and host."""


class LeaseError(VmhaError):
    """The lease area is missing, damaged or owned by somebody else."""


class WatchdogError(VmhaError):
    """This host's watchdog cannot be armed, fed or stopped."""


class AgentUnavailable(VmhaError):
    """The local vmha-agent does not answer on its socket."""


class NotTold(VmhaError):
    """A report reached nobody, or not everybody."""
