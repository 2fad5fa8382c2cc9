# SPDX-License-Identifier: Apache-2.0
"""Incidents for people: pages of the history, without journals."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import sqlalchemy as sa

from vmha_remediator.remedy.incident import Incident
from vmha_remediator.store import rows
from vmha_remediator.store.common import Part
from vmha_remediator.store.models import IncidentRow

PAGE = 50


@dataclass(frozen=True)
class Filter:
    """Which incidents are wanted; None: all. `marker` is the last id of the page before."""

    host: str | None = None
    rule: str | None = None
    states: Iterable[str] = field(default=())
    active: bool | None = None
    marker: int | None = None


class Pages(Part):
    """Reading many incidents at once."""

    def page(self, wanted: Filter, limit: int = PAGE) -> tuple[list[Incident], int | None]:
        """Return a page of incidents, the latest first, and the marker of the next page.

        They come with their VMs and without their journal.
        """
        query = rows.INCIDENTS.order_by(IncidentRow.id.desc()).limit(limit + 1)
        for condition in _conditions(wanted):
            query = query.where(condition)
        found = self.database.read(
            lambda session: rows.incidents(session, query, {}, journal=False)
        )
        more = found[limit - 1].id if len(found) > limit else None
        return found[:limit], more


def _conditions(wanted: Filter) -> Iterable[sa.ColumnElement[bool]]:
    if wanted.host is not None:
        yield IncidentRow.host == wanted.host
    if wanted.rule is not None:
        yield IncidentRow.rule == wanted.rule
    states = tuple(wanted.states)
    if states:
        yield IncidentRow.state.in_(states)
    if wanted.active is True:
        yield IncidentRow.active_host.is_not(None)
    if wanted.active is False:
        yield IncidentRow.active_host.is_(None)
    if wanted.marker is not None:
        yield IncidentRow.id < wanted.marker
