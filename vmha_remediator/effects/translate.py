# SPDX-License-Identifier: Apache-2.0
"""The edge to telemetry: sessions with a time-out of their own, errors put into words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import requests
from aodhclient import exceptions as aodh_exc
from gnocchiclient import exceptions as gnocchi_exc
from keystoneauth1 import exceptions as ks_exc
from keystoneauth1.session import Session

from vmha_remediator import errors
from vmha_remediator.errors import TelemetryUnavailable
from vmha_remediator.rules.alarms import redact

#: What a reply that is not what it should be ends in, when it is taken apart.
MALFORMED = (*errors.MALFORMED, RuntimeError)
#: Where Keystone is asked for a token, on the way to another service.
TOKENS = "/auth/tokens"


def with_timeout(session: Session, timeout: float) -> Session:
    """Return a session with the same login and trust as `session`, its time-out in seconds."""
    kind = type(session)
    return kind(auth=session.auth, verify=session.verify, cert=session.cert, timeout=timeout)


def who(service: str, exc: BaseException) -> str:
    """Return who has failed: `service`, or Keystone, which is asked for a token before it."""
    found: BaseException | None = exc
    while found is not None:
        if TOKENS in f"{getattr(found, 'url', '')} {found}":
            return "Keystone"
        found = found.__cause__ or found.__context__
    return service


@contextmanager
def telemetry(service: str, doing: str) -> Iterator[None]:
    """Turn every failure of `service` while `doing` into `TelemetryUnavailable`.

    The text says who failed at what and why, without signatures or tracebacks.
    """
    try:
        yield
    except (ks_exc.ConnectTimeout, requests.Timeout, gnocchi_exc.ConnectionTimeout) as exc:
        silent = who(service, exc)
        raise TelemetryUnavailable(f"{silent} did not answer in time while {doing}") from exc
    except ks_exc.Unauthorized as exc:
        raise TelemetryUnavailable(
            f"Keystone refused the login while {doing}; check the credentials in [cloud]"
        ) from exc
    except ks_exc.EndpointNotFound as exc:
        raise TelemetryUnavailable(
            f"{service} is not in Keystone's catalogue ({_text(exc)}); check [cloud] region_name "
            f"and interface, or set [telemetry] {service.lower()}_endpoint"
        ) from exc
    except (gnocchi_exc.ClientException, aodh_exc.ClientException) as exc:
        failed = who(service, exc)
        raise TelemetryUnavailable(f"{failed} failed while {doing}: {_text(exc)}") from exc
    except (ks_exc.ClientException, requests.RequestException, OSError) as exc:
        raise TelemetryUnavailable(
            f"{who(service, exc)} cannot be reached while {doing}: {_text(exc)}"
        ) from exc
    except MALFORMED as exc:
        raise TelemetryUnavailable(
            f"{service} answered something unexpected while {doing}: "
            f"{type(exc).__name__}: {_text(exc)}"
        ) from exc


def _text(exc: BaseException) -> str:
    """Return an exception's text in short and without signatures."""
    return redact(errors.in_short(exc))
