# SPDX-License-Identifier: Apache-2.0
"""[agent]: what vmha-agent needs to know about its host, its peers and the storage."""

from __future__ import annotations

import socket
import uuid
from importlib.metadata import entry_points
from pathlib import Path

from oslo_config import cfg, types

from vmha_remediator.errors import ConfigError
from vmha_remediator.strays import strays

GROUP = "agent"
DEFAULT_FILE = "/etc/vmha/agent.conf"
DEFAULT_SOCKET = "/run/vmha/agent.sock"
MIN_KEY_BYTES = 16

OPTS: list[cfg.Opt] = [
    cfg.StrOpt(
        "host",
        help="Name of this host's nova-compute service (its [DEFAULT] host); default: the host "
        "name. Wrong: the evidence is filed under a host that Nova does not know, and nothing "
        "is recovered when this one fails.",
    ),
    cfg.IPOpt(
        "address",
        help="This host's address on the management network. Wrong: peers do not hear it and "
        "it is reported as partitioned.",
    ),
    cfg.PortOpt(
        "port",
        default=8577,
        help="UDP port of the heartbeats, the same on every host. Wrong: nobody hears this host.",
    ),
    cfg.StrOpt(
        "socket",
        default=DEFAULT_SOCKET,
        help="Unix socket on which the pollster and 'vmha-agent status' ask. Wrong: no metrics.",
    ),
    cfg.StrOpt(
        "lease_driver",
        default="slots",
        help="Who keeps the leases: an entry point of group vmha.lease. Wrong: the agent stops "
        "at start and names the drivers that exist.",
    ),
    cfg.StrOpt(
        "sanlock_lockspace",
        default="vmha",
        help="With lease_driver sanlock: the lockspace that every host's sanlock daemon has "
        "joined under the host's name (our_host_name in sanlock.conf), with an io_timeout of at "
        "most half the lease_interval ('add_lockspace -o'). Wrong: no lease is known, and this "
        "host says nothing about others.",
    ),
    cfg.StrOpt(
        "sanlock_run_dir",
        help="Run directory of an unprivileged sanlock daemon (its SANLOCK_RUN_DIR); default: "
        "the system's daemon. Wrong: the daemon is not found, and this host says nothing about "
        "others.",
    ),
    cfg.StrOpt(
        "lease_path",
        help="The slots file or block device on the shared storage, made by 'vmha-agent init'. "
        "Wrong or missing: this host has no lease, is reported as storage-lost, and says "
        "nothing about others.",
    ),
    cfg.StrOpt(
        "cluster",
        help="Name of the cluster whose slots these are. Wrong: the agent refuses the slots.",
    ),
    cfg.StrOpt(
        "key_file",
        default="/etc/vmha/agent.key",
        help="File with the secret that signs heartbeats (at least 16 bytes), the same on every "
        "host. Wrong: nobody accepts this host's heartbeats.",
    ),
    cfg.StrOpt(
        "previous_key_file",
        help="File with a second key that is accepted but not signed with; it may be missing. To "
        "rotate: put the new key here everywhere, then swap the two files everywhere, then remove "
        "this one, each followed by SIGHUP (systemctl reload). Wrong: during a rotation some "
        "hosts do not hear others.",
    ),
    cfg.IntOpt(
        "priority",
        default=0,
        min=-1000,
        max=1000,
        help="Hosts with a higher priority become witnesses first. Wrong: a busy host watches.",
    ),
    cfg.ListOpt(
        "isolation_addresses",
        default=[],
        item_type=types.HostAddress(),
        help="Addresses (the gateway) that a host which hears no peer tries before it calls "
        "itself isolated. Wrong: isolation is reported as partition; the VMs run on either way.",
    ),
    cfg.StrOpt(
        "boot_id_file",
        default="/proc/sys/kernel/random/boot_id",
        help="File whose content changes with every boot. Wrong: a reboot goes unnoticed.",
    ),
    cfg.FloatOpt(
        "heartbeat_interval",
        default=1.0,
        min=0.1,
        max=10.0,
        help="Seconds between two heartbeats; the same on every host. Too long: a healthy host "
        "looks suspect.",
    ),
    cfg.FloatOpt(
        "lease_interval",
        default=2.0,
        min=0.2,
        max=30.0,
        help="Seconds between two renewals of the lease; the same on every host. Too long: "
        "lease.age reaches the threshold of the rules on healthy hosts. Longer than on a "
        "host with a watchdog: this one does not vouch for it.",
    ),
    cfg.PortOpt(
        "probe_port",
        default=22,
        help="TCP port tried on a silent host where ICMP is filtered; a refused connection is "
        "an answer too. Filtered as well: 'reachable' is not published, and no host is ever "
        "called failed.",
    ),
    cfg.StrOpt(
        "watchdog_driver",
        default="none",
        help="Who resets this host when nobody can vouch for it: none, or an entry point of "
        "group vmha.watchdog (linux, socket). Needs 'vmha-agent watchdog' to run beside the "
        "agent. Wrong: that process stops at start and names the option; nothing is promised.",
    ),
    cfg.FloatOpt(
        "watchdog_timeout",
        default=10.0,
        min=1.0,
        max=300.0,
        help="Seconds after the last feed at which the watchdog fires; one that rounds, or has "
        "its own, is believed. Too short: a feeder that is not run in time costs the host. Too "
        "long: recovery without a BMC takes twice as much longer.",
    ),
    cfg.StrOpt(
        "watchdog_device",
        default="/dev/watchdog",
        help="The watchdog: a device (linux) or a unix socket (socket). It must not stand still "
        "when the host does: no softdog. Wrong: nothing is armed and nothing promised.",
    ),
    cfg.StrOpt(
        "watchdog_socket",
        default="/run/vmha/watchdog.sock",
        help="Unix socket between the agent and 'vmha-agent watchdog'. Wrong: nothing is armed.",
    ),
    cfg.StrOpt(
        "log_level",
        default="INFO",
        choices=["DEBUG", "INFO", "WARNING", "ERROR"],
        help="Least severity that is logged to standard error.",
    ),
]

#: Registered on ceilometer's own configuration by the pollster.
POLLSTER_GROUP = "vmha"
POLLSTER_OPTS: list[cfg.Opt] = [
    cfg.StrOpt(
        "agent_socket",
        default=DEFAULT_SOCKET,
        help="The unix socket of the vmha-agent on this host ([agent] socket). Wrong: no vmha "
        "metrics, and no verdict about any host that only this one watches.",
    ),
]


def load(config_file: str | None = None) -> cfg.ConfigOpts:
    """Return the agent's configuration from `config_file` (default: DEFAULT_FILE if present).

    Raises `ConfigError` that names the file or the option.
    """
    conf = cfg.ConfigOpts()
    conf.register_opts(OPTS, group=GROUP)
    files = [config_file] if config_file else [f for f in (DEFAULT_FILE,) if Path(f).exists()]
    try:
        conf([], project="vmha", prog="vmha-agent", default_config_files=files)
        for opt in OPTS:  # a wrong value is found now, not in a thread later
            conf[GROUP][opt.dest]
    except cfg.Error as exc:
        raise ConfigError(f"configuration: {exc}") from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"configuration: {files[0]} is no text: {exc}") from exc
    return conf


def unread(conf: cfg.ConfigOpts) -> list[str]:
    """Return a sentence for each option or section of the file of `conf` that nothing reads."""
    known = {group: {opt.dest for opt in opts} for group, opts in list_opts()}
    return strays(conf.config_file or (), known)


def require(conf: cfg.ConfigOpts, name: str) -> str:
    """Return the text of option `name`; raises `ConfigError` when it is not set."""
    value = conf[GROUP][name]
    if not value:
        files = ", ".join(conf.default_config_files or ()) or f"{DEFAULT_FILE}, which is not there"
        raise ConfigError(f"[agent] {name} is not set in {files}")
    return str(value)


def no_driver(option: str, name: str, group: str) -> ConfigError:
    """Return the error that names what `option` may be instead of `name`: a driver of `group`."""
    there = ", ".join(sorted(entry_points(group=group).names)) or "none is installed"
    return ConfigError(f"[agent] {option} '{name}' is not known; there is: {there}")


def host_name(conf: cfg.ConfigOpts) -> str:
    """Return this host's service name."""
    return str(conf[GROUP].host or socket.gethostname())


def read_keys(conf: cfg.ConfigOpts) -> tuple[bytes, ...]:
    """Return the heartbeat keys, the one to sign with first; raises `ConfigError`."""
    second = conf[GROUP].previous_key_file
    paths = [conf[GROUP].key_file, *([second] if second and Path(second).exists() else [])]
    return tuple(_read_key(path) for path in paths)


def _read_key(path: str) -> bytes:
    try:
        key = Path(path).read_bytes().strip()
    except OSError as exc:
        raise ConfigError(f"[agent] key file {path}: {exc.strerror}") from exc
    if len(key) < MIN_KEY_BYTES:
        raise ConfigError(f"[agent] key file {path}: shorter than {MIN_KEY_BYTES} bytes")
    return key


def read_boot_id(conf: cfg.ConfigOpts) -> uuid.UUID:
    """Return what identifies this boot; text that is no UUID is hashed into one."""
    path = conf[GROUP].boot_id_file
    try:
        text = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"[agent] boot_id_file {path}: {exc}") from exc
    try:
        return uuid.UUID(text)
    except ValueError:
        return uuid.uuid5(uuid.NAMESPACE_OID, text)


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """Entry point of oslo-config-generator."""
    return [(GROUP, list(OPTS)), (POLLSTER_GROUP, list(POLLSTER_OPTS))]
