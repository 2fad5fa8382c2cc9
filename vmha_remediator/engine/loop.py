# SPDX-License-Identifier: Apache-2.0
"""Putting an engine together from the configuration: `make_engine` is what services call."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from oslo_config import cfg
from oslo_log import log

from vmha_remediator.conf import evacuation as evacuation_conf
from vmha_remediator.conf import rules as rules_conf
from vmha_remediator.effects.aodh import Aodh
from vmha_remediator.effects.clock import SystemClock
from vmha_remediator.effects.gnocchi import Gnocchi
from vmha_remediator.effects.nova import make_nova
from vmha_remediator.effects.report import Reporters
from vmha_remediator.effects.reporters import make_reporters
from vmha_remediator.effects.session import make_connection, make_session
from vmha_remediator.engine.crew import Crew
from vmha_remediator.engine.cycle import Engine
from vmha_remediator.engine.executor import Executor
from vmha_remediator.engine.leader import Leader, engine_name, is_local
from vmha_remediator.engine.lookout import Lookout
from vmha_remediator.engine.observer import Observer
from vmha_remediator.engine.upkeep import Upkeep
from vmha_remediator.engine.vm_watch import VmWatch
from vmha_remediator.engine.watch import Timing
from vmha_remediator.fencing.fencer import Fencer
from vmha_remediator.remedy.policy import Policy
from vmha_remediator.remedy.vm_failure import Limits
from vmha_remediator.rules import templates, vm_rule
from vmha_remediator.store import Store, open_store

LOG = log.getLogger(__name__)

#: Requests to services under way at a time, all incidents together.
REQUESTS = 16


def make_policy(conf: cfg.ConfigOpts) -> Policy:
    """Return the numbers that plans obey; those of [guards] go by the names of their options."""
    moves = conf.evacuation
    return replace(
        evacuation_conf.policy(conf),
        parallel=moves.parallel,
        parallel_per_host=moves.parallel_per_host,
        depends_wait=moves.depends_wait,
        quick_attempts=moves.quick_attempts,
        retry_first=moves.retry_first,
        retry_limit=moves.retry_limit,
        begin_wait=moves.begin_wait,
        stuck_after=moves.stuck_after,
        proof_age=moves.proof_age,
        vm_window=conf.vm_failure.window,
        **conf.guards,
    )


def make_timing(conf: cfg.ConfigOpts) -> Timing:
    """Return when something is wrong with most hosts: [cluster], by the names of its options."""
    return Timing(**conf.cluster)


def make_limits(conf: cfg.ConfigOpts) -> Limits:
    """Return how often a single VM is restarted in place."""
    group = conf.vm_failure
    return Limits(
        protect=conf.evacuation.protect,
        restarts=group.restarts,
        window=group.window,
        settle=group.settle,
    )


def make_engine(conf: cfg.ConfigOpts, store: Store | None = None) -> Engine:
    """Return an engine over the real services; `store` lets API and engine share one.

    Raises `ConfigError`, `RuleError` or `StoreUnavailable`.
    """
    clock, policy = SystemClock(), make_policy(conf)
    store = store or open_store(conf)
    if is_local(conf.engine.coordination_url) and store.database.dialect != "sqlite":
        LOG.warning(
            "[engine] coordination_url is a lock file, which engines on other machines do not "
            "see, but [database] connection is a server that they may share. One engine on this "
            "machine is right; for more, name a service that all of them share (redis, etcd)"
        )
    session = make_session(conf)
    cloud = make_nova(conf, make_connection(conf, session))
    telemetry = Gnocchi(session, conf)
    fencing = Fencer(
        conf,
        store.confirmation,
        lambda host, seconds: telemetry.history(host, seconds, rules_conf.thresholds(conf)),
    )
    requests = ThreadPoolExecutor(REQUESTS, thread_name_prefix="request")
    observer = Observer(
        telemetry=telemetry,
        cloud=cloud,
        fencing=fencing,
        store=store,
        templates=templates.load(conf.rules.directory),
        thresholds=lambda agents: rules_conf.thresholds(conf, agents),
        clock=clock,
        policy=policy,
        pool=requests,
    )
    executor = Executor(
        store=store,
        cloud=cloud,
        fencing=fencing,
        clock=clock,
        policy=policy,
        pool=requests,
        heard=observer.heard_again,
        after_service=observer.forget_services,
    )
    reporters = make_reporters(conf)
    crew = Crew(
        store=store,
        observer=observer,
        executor=executor,
        reporter=reporters,
        clock=clock,
        policy=policy,
        pool=ThreadPoolExecutor(conf.engine.workers, thread_name_prefix="incident"),
        first_rest=conf.engine.active_interval,
    )
    vms = VmWatch(
        store=store,
        cloud=cloud,
        power=lambda server: telemetry.power_state(server, conf.vm_failure.granularity),
        observer=observer,
        clock=clock,
        pool=crew.pool,
        template=vm_rule.load(conf.rules.directory),
        limits=make_limits(conf),
        deposed=crew.depose,
    )
    observer.vm_facts = vms.facts
    lookout = Lookout(
        store=store,
        observer=observer,
        telemetry=telemetry,
        alarms=Aodh(session, conf),
        clock=clock,
        crew=crew,
        policy=policy,
        interval=conf.engine.interval,
        timing=make_timing(conf),
    )
    name = engine_name(conf)
    return Engine(
        store=store,
        leader=Leader(conf.engine.coordination_url, name),
        clock=clock,
        crew=crew,
        lookout=lookout,
        name=name,
        active_interval=conf.engine.active_interval,
        upkeep=Upkeep(observer, cloud, clock, policy),
        vms=vms if conf.vm_failure.enabled else None,
        closing=lambda: _close(requests, reporters),
    )


def _close(requests: ThreadPoolExecutor, reporters: Reporters) -> None:
    requests.shutdown(wait=True)
    reporters.close()


__all__ = ["Engine", "make_engine"]
