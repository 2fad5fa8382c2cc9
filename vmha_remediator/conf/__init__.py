# SPDX-License-Identifier: Apache-2.0
"""Configuration of the remediator: options in one file a group, loaded once, passed in.

There is no module-level CONF: `load()` returns a fresh `ConfigOpts` that every constructor
takes as an argument.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

from oslo_config import cfg
from oslo_log import log

from vmha_remediator.conf import cloud
from vmha_remediator.errors import ConfigError
from vmha_remediator.strays import strays

#: Modules that each define GROUP (str) and OPTS (list of oslo.config options).
GROUPS = tuple(
    import_module(f"{__name__}.{name}")
    for name in (
        "api",
        "cloud",
        "cluster",
        "database",
        "engine",
        "evacuation",
        "fencing",
        "guards",
        "report",
        "rules",
        "telemetry",
        "vm_failure",
        "webhook",
    )
)

#: Sections of our file that libraries read: keystonemiddleware, oslo.policy, oslo.messaging.
LIBRARIES = ("keystone_authtoken", "oslo_")


def register(conf: cfg.ConfigOpts) -> None:
    """Register every remediator option on `conf`."""
    log.register_options(conf)
    for module in GROUPS:
        conf.register_opts(module.OPTS, group=module.GROUP)
    cloud.register_auth(conf)


def load(
    args: Sequence[str] = (), *, prog: str = "vmha", config_files: Sequence[str] | None = None
) -> cfg.ConfigOpts:
    """Return the configuration read from `config_files` (default: /etc/vmha/vmha.conf).

    Raises `ConfigError` with the option's name when a file is missing or a value is wrong.
    """
    conf = cfg.ConfigOpts()
    register(conf)
    try:
        conf(
            list(args),
            project="vmha",
            prog=prog,
            default_config_files=list(config_files) if config_files is not None else None,
        )
    except cfg.Error as exc:
        raise ConfigError(f"configuration: {exc}") from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"configuration: a file is no text: {exc}") from exc
    except SystemExit as exc:  # oslo.config has said which option of oslo.log it does not like
        raise ConfigError("configuration: that value of [DEFAULT] is wrong") from exc
    _read_all(conf)
    cloud.check(conf)
    return conf


def _read_all(conf: cfg.ConfigOpts) -> None:
    """Read every option once: oslo.config looks at a value only when it is asked for."""
    for module in GROUPS:
        group = conf[module.GROUP]
        for name in group:
            try:
                group[name]
            except (cfg.Error, ValueError) as exc:
                why = exc.__context__ or exc  # oslo.config wraps the reason in a place
                raise ConfigError(f"configuration: [{module.GROUP}] {name}: {why}") from exc


def unread(conf: cfg.ConfigOpts) -> list[str]:
    """Return a sentence for each option or section of the files of `conf` that nothing reads."""
    known = {m.GROUP: {opt.dest for opt in m.OPTS} for m in GROUPS}
    logs = set(conf) - set(known)
    known["DEFAULT"] = logs | {name.replace("_", said) for name in logs for said in ("-", "")}
    elsewhere = conf.cloud.auth_section
    libraries = (*LIBRARIES, elsewhere.lower()) if elsewhere else LIBRARIES
    login = cloud.auth_names(conf)
    if login is None:  # no such plugin, so nobody can say which options it would have
        libraries = (*libraries, cloud.GROUP)
    else:
        known[cloud.GROUP] |= login
    return strays(conf.config_file or (), known, libraries)


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """Entry point of oslo-config-generator."""
    return [(m.GROUP, list(m.OPTS)) for m in GROUPS] + [(cloud.GROUP, cloud.auth_opts())]
