# SPDX-License-Identifier: Apache-2.0
"""Aodh: the alarms that the rules become, and which of them stand now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aodhclient import exceptions as aodh_exc
from aodhclient.v2.client import Client
from keystoneauth1.session import Session
from oslo_config import cfg

from vmha_remediator.effects.translate import telemetry, with_timeout
from vmha_remediator.rules import vm_rule
from vmha_remediator.rules.alarms import TYPE, Plan, alarm_name, is_ours, parse_name
from vmha_remediator.rules.judge import State

SERVICE = "Aodh"
#: Alarms at whose evaluation one look looks; any of them tells.
SAMPLE = 10


def _subject(name: object) -> tuple[str, str] | None:
    return parse_name(name) or vm_rule.parse_name(name)


class Aodh:
    """Our alarms in the login's project; every failure is a `TelemetryUnavailable`."""

    def __init__(self, session: Session, conf: cfg.ConfigOpts) -> None:
        options: dict[str, Any] = {
            "interface": conf.cloud.interface,
            "region_name": conf.cloud.region_name,
        }
        if conf.telemetry.aodh_endpoint:
            options["endpoint_override"] = conf.telemetry.aodh_endpoint
        self._client = Client(with_timeout(session, conf.telemetry.timeout), **options)

    def alarms(self) -> list[dict[str, Any]]:
        """Return all alarms of ours, as Aodh holds them."""
        with telemetry(SERVICE, "listing the alarms"):
            found = self._client.alarm.list(filters={"type": TYPE})
            return [dict(alarm) for alarm in found if is_ours(alarm)]

    def vm_alarms(self) -> list[dict[str, Any]]:
        """Return all alarms of ours on single VMs, as Aodh holds them."""
        with telemetry(SERVICE, "listing the alarms on VMs"):
            found = self._client.alarm.list(filters={"type": TYPE})
            return [dict(alarm) for alarm in found if is_ours(alarm, vm_rule.parse_name)]

    def alarming(self) -> list[tuple[str, str]]:
        """Return (rule, host) of our alarms in state "alarm", in one request.

        For an alarm on a VM it is (`vm_rule.RULE`, server id).
        """
        with telemetry(SERVICE, "listing the alarms that stand"):
            found = self._client.alarm.list(filters={"type": TYPE, "state": State.ALARM.value})
            names = [_subject(alarm["name"]) for alarm in found]
            return sorted({name for name in names if name is not None})

    def evaluated(self) -> dict[str, str]:
        """Return when some alarms of the project were last evaluated, by their ids.

        The evaluator writes that down at each turn, unless evaluators share their work through
        a coordination service.
        """
        with telemetry(SERVICE, "looking whether alarms are evaluated"):
            found = self._client.alarm.list(filters={"type": TYPE}, limit=SAMPLE)
            return {
                str(alarm["alarm_id"]): str(alarm["evaluate_timestamp"])
                for alarm in found
                if alarm["enabled"] and alarm.get("evaluate_timestamp")
            }

    def state(self, rule: str, host: str) -> str | None:
        """Return the state of one alarm of ours; None: there is none, or it is disabled."""
        with telemetry(SERVICE, "looking at one alarm"):
            found = self._client.alarm.list(filters={"name": alarm_name(rule, host)})
            states = [str(alarm["state"]) for alarm in found if alarm["enabled"]]
            return states[0] if states else None

    def create(self, body: Mapping[str, Any]) -> str:
        """Create an alarm and return its id."""
        with telemetry(SERVICE, f"creating alarm {body['name']}"):
            return str(self._client.alarm.create(dict(body))["alarm_id"])

    def update(self, alarm_id: str, fields: Mapping[str, Any]) -> None:
        """Change `fields` of an alarm; what is not named stays as it is."""
        with telemetry(SERVICE, f"changing alarm {alarm_id}"):
            self._client.alarm.update(alarm_id, dict(fields))

    def delete(self, alarm_id: str) -> None:
        """Delete an alarm; one that is gone already is no error."""
        with telemetry(SERVICE, f"deleting alarm {alarm_id}"):
            try:
                self._client.alarm.delete(alarm_id)
            except aodh_exc.NotFound:
                return

    def apply(self, plan: Plan) -> None:
        """Carry out a plan: delete, change, create. What fails is met again by the next sync."""
        for alarm_id, _, _ in plan.delete:
            self.delete(alarm_id)
        for change in plan.update:
            self.update(change.alarm_id, {name: new for name, (_, new) in change.fields.items()})
        for body in plan.create:
            self.create(body)
