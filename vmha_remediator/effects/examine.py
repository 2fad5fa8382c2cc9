# SPDX-License-Identifier: Apache-2.0
"""Gathering what the doctor looks at: each part by itself, so that one that is away hides none."""

from __future__ import annotations

import configparser
import datetime
import email.utils
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import requests
from keystoneauth1 import exceptions as ks_exc
from keystoneauth1.session import Session
from oslo_config import cfg

from vmha_remediator import conf as config
from vmha_remediator.conf import evacuation as evacuation_conf
from vmha_remediator.conf import rules as rules_conf
from vmha_remediator.conf.webhook import read_key
from vmha_remediator.doctor.finding import Clock, Fence, Seen, Unread
from vmha_remediator.effects.aodh import Aodh
from vmha_remediator.effects.gnocchi import Gnocchi
from vmha_remediator.effects.nova import make_nova
from vmha_remediator.effects.placement import Placement, read_space
from vmha_remediator.effects.session import make_connection, make_session
from vmha_remediator.errors import MALFORMED, ConfigError, VmhaError, in_short
from vmha_remediator.fencing.fencer import Fencer
from vmha_remediator.remedy.capacity import Space
from vmha_remediator.remedy.facts import Server
from vmha_remediator.rules import alarms
from vmha_remediator.store import store_to_read

T = TypeVar("T")

#: Hosts whose power state is read at the same time.
FENCES = 16
#: Services whose clock is compared, by their type in Keystone's catalogue.
CLOCKS = ("compute", "metric", "alarming", "identity")


def part(read: Callable[[], T]) -> T | Unread:
    """Return what `read` returns, or why it could not be read."""
    try:
        return read()
    except VmhaError as exc:
        return Unread(str(exc))


class Gatherer:
    """Reads everything once."""

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        configs: Mapping[str, str],
        ask_agent: Callable[[], Mapping[str, Any]],
    ) -> None:
        """Use `conf`; `configs` maps a service to its file; `ask_agent` asks the local agent."""
        self._conf, self._configs, self._ask_agent = conf, configs, ask_agent
        self._session: Session = make_session(conf)
        connection = make_connection(conf, self._session)
        self._nova = make_nova(conf, connection)
        self._placement = Placement(connection, conf.cloud.timeout)
        self._gnocchi, self._aodh = Gnocchi(self._session, conf), Aodh(self._session, conf)

    def gather(self, said: Callable[[str], None] = lambda text: None) -> Seen:
        """Return all that was seen; `said` is told what is being looked at."""
        conf = self._conf
        said("Gnocchi")
        names = part(self._gnocchi.hosts)
        known = () if isinstance(names, Unread) else tuple(names)
        telemetry = part(lambda: tuple(self._gnocchi.setup(dry_run=True)))
        readings: Any = names
        if not isinstance(names, Unread):
            readings = part(lambda: self._gnocchi.readings_of(known))
        said("Aodh")
        held = part(self._aodh.alarms)
        said("Nova")
        services = part(lambda: tuple(self._nova.services()))
        servers = part(lambda: tuple(self._nova.all_servers()))
        version = part(self._nova.highest)
        said("Placement")
        space = self._space(servers)
        said("fencing")
        fences, trouble = self._fences()
        said("the engine and the receiver")
        return Seen(
            now=time.time(),
            limits=rules_conf.thresholds(conf, len(known)),
            services=services,
            servers=servers,
            nova_version=version,
            space=space,
            policy=evacuation_conf.policy(conf),
            telemetry=telemetry,
            readings=readings,
            alarms=held if isinstance(held, Unread) else part(lambda: self._sync(held, known)),
            alarm_states=held if isinstance(held, Unread) else _states(held),
            fences=fences,
            trouble=trouble,
            leader=part(lambda: store_to_read(conf).leader()),
            receiver=self._receiver(),
            key_mode=self._key_mode(),
            clocks=self._clocks(),
            agent=part(self._ask_agent),
            configs={name: read_config(path) for name, path in self._configs.items()},
            unread=tuple(config.unread(conf)),
        )

    def _sync(self, held: list[dict[str, Any]], known: tuple[str, ...]) -> alarms.Plan:
        conf = self._conf
        limits, key = rules_conf.thresholds(conf, len(known)), read_key(conf.webhook.key_file)
        rules = rules_conf.load_rules(conf)
        wanted = alarms.wanted(rules, known, limits, conf.webhook.base_url, key)
        return alarms.plan(held, wanted, known)

    def _space(self, servers: tuple[Server, ...] | Unread) -> Space | Unread:
        if isinstance(servers, Unread):
            return servers
        return part(lambda: read_space(self._nova, self._placement, servers))

    def _fences(self) -> tuple[dict[str, tuple[Fence, ...]] | Unread, dict[str, str]]:
        try:
            fencer = Fencer(self._conf, lambda host: None)
            hosts = fencer.hosts()
        except ConfigError as exc:
            return Unread(str(exc)), {}
        trouble = {host: why for host in hosts if (why := fencer.trouble(host)) is not None}

        def read(host: str) -> tuple[Fence, ...]:
            return tuple(Fence(r.driver, r.ok, r.sentence, r.pinned) for r in fencer.powers(host))

        with ThreadPoolExecutor(FENCES) as pool:
            return dict(zip(hosts, pool.map(read, hosts), strict=True)), trouble

    def _receiver(self) -> bool | Unread:
        where = self._conf.webhook.base_url.rstrip("/") + "/healthcheck"
        try:
            answer = requests.get(where, timeout=self._conf.telemetry.timeout)
            return bool(answer.status_code == 200 and answer.json().get("status") == "ok")
        except ValueError:
            return False
        except (requests.RequestException, AttributeError) as exc:
            return Unread(f"{in_short(exc)} at {where}")

    def _key_mode(self) -> int | Unread:
        try:
            return Path(self._conf.webhook.key_file).stat().st_mode
        except OSError as exc:
            return Unread(f"{self._conf.webhook.key_file}: {exc.strerror}")

    def _clocks(self) -> tuple[Clock, ...] | Unread:
        found = []
        for service in CLOCKS:
            try:
                answer = self._session.get(
                    "/",
                    endpoint_filter={
                        "service_type": service,
                        "interface": self._conf.cloud.interface,
                        "region_name": self._conf.cloud.region_name,
                    },
                    raise_exc=False,
                    timeout=self._conf.telemetry.timeout,
                )
            except (ks_exc.ClientException, *MALFORMED):
                continue
            ahead = seconds_ahead(answer.headers.get("Date"), time.time())
            if ahead is not None:
                found.append(Clock(service, ahead))
        return tuple(found) if found else Unread("no service tells its time")


def seconds_ahead(date: str | None, now: float) -> float | None:
    """Return how far an HTTP date is ahead of `now`; it has whole seconds, so half is added."""
    if not date:
        return None
    try:
        moment = email.utils.parsedate_to_datetime(date)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    return moment.timestamp() + 0.5 - now


def _states(held: list[dict[str, Any]]) -> dict[tuple[str, str], str]:
    found = {}
    for alarm in held:
        name = alarms.parse_name(alarm["name"])
        if name is not None:
            found[name] = str(alarm.get("state"))
    return found


def read_config(path: str) -> Mapping[tuple[str, str], str] | Unread:
    """Return the options of another service's file: (section, option) -> text."""
    parser = configparser.RawConfigParser(
        strict=False, default_section="\0", inline_comment_prefixes=(), allow_no_value=True
    )
    try:
        parser.read_string(Path(path).read_text(encoding="utf-8", errors="replace"), path)
    except OSError as exc:
        return Unread(f"{path}: {exc.strerror}")
    except configparser.Error as exc:
        return Unread(f"{path}: {' '.join(str(exc).split())[:120]}")
    return {
        (section, option): value or ""
        for section in parser.sections()
        for option, value in parser.items(section)
    }
