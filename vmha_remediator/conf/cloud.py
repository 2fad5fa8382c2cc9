# SPDX-License-Identifier: Apache-2.0
"""[cloud]: how to log in to Keystone, and how long any API may take."""

from __future__ import annotations

import ssl
from pathlib import Path

from keystoneauth1 import exceptions as ks_exc
from keystoneauth1 import loading
from oslo_config import cfg

from vmha_remediator.errors import ConfigError

GROUP = "cloud"

OPTS: list[cfg.Opt] = [
    cfg.StrOpt(
        "region_name",
        help="Region of the Nova, Aodh and Gnocchi endpoints. Wrong: no endpoint is found and "
        "every command says so.",
    ),
    cfg.StrOpt(
        "interface",
        default="internal",
        choices=["public", "internal", "admin"],
        help="Which endpoints of the catalogue to use. Wrong: endpoints that this machine "
        "cannot reach are tried, and every cycle ends in a time-out that names them.",
    ),
    cfg.StrOpt(
        "compute_microversion_max",
        regex=r"^2\.[0-9]+$",
        help="Highest compute API microversion to ask for, for example 2.94. Unset: what Nova "
        "offers. From 2.95 on Nova leaves evacuated VMs stopped and the engine starts them, most "
        "important first; up to 2.94 Nova itself starts each as it arrives. Below 2.53: the "
        "engine does not start, and says so.",
    ),
]

_WITHOUT_AUTHORITIES = (
    f"configuration: [{GROUP}] cafile: {{path}}: {{why}}; give the bundle with the CA of the "
    "cloud's endpoints, or take the option out: the system's CAs hold then"
)


def microversion_cap(conf: cfg.ConfigOpts) -> tuple[int, int] | None:
    """Return the highest compute microversion to ask for; None: no limit."""
    text = conf[GROUP].compute_microversion_max
    if not text:
        return None
    major, minor = text.split(".")
    return int(major), int(minor)


def register_auth(conf: cfg.ConfigOpts) -> None:
    """Register keystoneauth's own options (auth_type, auth_url, timeout, ...)."""
    loading.register_session_conf_options(conf, GROUP)
    loading.register_auth_conf_options(conf, GROUP)
    # An unbounded request would hang the engine: keystoneauth's default is no time-out.
    conf.set_default("timeout", 10, group=GROUP)


def check(conf: cfg.ConfigOpts) -> None:
    """Refuse what keystoneauth takes and no request could live with; raises `ConfigError`."""
    group = conf[GROUP]
    if group.timeout is None or group.timeout <= 0:
        raise ConfigError(
            f"configuration: [{GROUP}] timeout: {group.timeout or 0:g} is no number of seconds "
            "above 0; a request that hangs is given up after so many"
        )
    if group.cafile and not group.insecure:
        _check_authorities(group.cafile)


def _check_authorities(path: str) -> None:
    """Refuse a file (or a folder) of CA certificates without which no request is possible."""
    found = {"capath" if Path(path).is_dir() else "cafile": path}
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(**found)
    except ssl.SSLError as exc:
        why = "holds no certificate"
        raise ConfigError(_WITHOUT_AUTHORITIES.format(path=path, why=why)) from exc
    except OSError as exc:
        raise ConfigError(_WITHOUT_AUTHORITIES.format(path=path, why=exc.strerror)) from exc


def auth_names(conf: cfg.ConfigOpts) -> set[str] | None:
    """Return how options of the login may be written; None: there is no such plugin."""
    opts = [*loading.get_session_conf_options(), *loading.get_auth_common_conf_options()]
    try:
        opts += loading.get_auth_plugin_conf_options(conf[GROUP].auth_type or "password")
    except ks_exc.NoMatchingPlugin:
        return None
    older = [old.name for opt in opts for old in opt.deprecated_opts if old.name]
    return {opt.dest for opt in opts} | {opt.name for opt in opts} | set(older)


def auth_opts() -> list[cfg.Opt]:
    """Return keystoneauth's options for the sample configuration."""
    return [
        *loading.get_session_conf_options(),
        *loading.get_auth_common_conf_options(),
        *loading.get_auth_plugin_conf_options("password"),
    ]
