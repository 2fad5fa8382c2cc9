# SPDX-License-Identifier: Apache-2.0
"""An incident's journal: what is about to be done is written down, and then how it ended."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from oslo_log import log

from vmha_remediator.errors import VmhaError
from vmha_remediator.remedy.incident import Incident
from vmha_remediator.remedy.steps import Step
from vmha_remediator.store import Store

LOG = log.getLogger(__name__)


@contextmanager
def journaled(
    store: Store, incident: Incident, step: Step, doing: str, epoch: int
) -> Iterator[None]:
    """Write a step down before it is done, and how it ended after.

    The first line is written with the leader's epoch: a deposed leader is stopped before it acts.
    """
    number = store.begin_step(incident, step.name, doing, epoch=epoch)
    try:
        yield
    except VmhaError as exc:
        store.finish_step(number, False, f"{doing}: {exc}")
        raise
    store.finish_step(number, True, doing)
    LOG.info("incident %s: %s", incident.id, doing)
