# SPDX-License-Identifier: Apache-2.0
"""One tree of errors; the edges (API, commands, loop) translate them for people."""

#: What an answer of another shape than it should have ends in, when it is taken apart.
MALFORMED = (ValueError, KeyError, TypeError, AttributeError, IndexError)


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
