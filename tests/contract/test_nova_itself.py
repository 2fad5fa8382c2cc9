# SPDX-License-Identifier: Apache-2.0
"""What is believed of Nova, held against the Nova that is installed: its schemas, states, rules.

The lab plays these on a cloud that runs. Here nothing runs, so that a Nova that has learnt another
state, another reason to refuse or another body is noticed by whoever raises its version.
"""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from keystoneauth1 import noauth
from keystoneauth1.session import Session
from nova import exception
from nova.api.openstack import api_version_request
from nova.api.openstack.compute import (
    admin_actions,
    evacuate,
    pause_server,
    rescue,
    servers,
    services,
    suspend_server,
)
from nova.api.validation import validators
from nova.compute import task_states
from nova.objects import fields
from openstack.connection import Connection

from tests.unit.effects.telemetry_server import Server, serving
from vmha_remediator.effects.nova import NOT_RUNNING, Nova
from vmha_remediator.effects.nova_acts import ACTIONS, LEAVES_STOPPED
from vmha_remediator.remedy import facts, original, vm_leave

CONTROLLERS = (
    admin_actions.AdminActionsController,
    evacuate.EvacuateController,
    pause_server.PauseServerController,
    rescue.RescueController,
    servers.ServersController,
    suspend_server.SuspendServerController,
)
#: What Nova asks before it evacuates, by the names of its own guards.
REFUSALS = {
    "check_instance_state",
    # What is told of a VM before anything fails: `unprotectable.HINDRANCES`.
    "block_shares_not_supported",
    "block_port_accelerators",
    "reject_vtpm_instances",
    # What passes where every nova-compute is of this decade.
    "block_extended_resource_request",
    "block_accelerators",
}
#: Tasks in the middle of which a VM may have got to another host, or was never started at all.
ELSEWHERE = {
    "scheduling", "block_device_mapping", "networking", "spawning", "migrating", "resize_prep",
    "resize_migrating", "resize_migrated", "resize_finish", "resize_reverting",
    "resize_confirming", "restoring", "shelving_offloading", "unshelving",
}  # fmt: skip


def tree(module: str) -> ast.Module:
    """Return the syntax of one of Nova's modules, without importing it."""
    found = importlib.util.find_spec("nova")
    assert found is not None
    assert found.origin is not None
    return ast.parse((Path(found.origin).parent / module).read_text())


def method(module: str, name: str) -> ast.FunctionDef:
    """Return a method of one of Nova's modules."""
    functions = (node for node in ast.walk(tree(module)) if isinstance(node, ast.FunctionDef))
    return next(function for function in functions if function.name == name)


def guards() -> dict[str, ast.expr]:
    """Return what Nova asks before it evacuates, by name."""
    asked = method("compute/api.py", "evacuate").decorator_list
    return {ast.unparse(guard).partition("(")[0]: guard for guard in asked}


def test_a_server_is_evacuated_in_these_states_alone() -> None:
    asked = ast.unparse(guards()["check_instance_state"])
    assert "task_state=None" in asked
    states = {state for state in vars(fields.InstanceState) if f"vm_states.{state}" in asked}
    assert {getattr(fields.InstanceState, state) for state in states} == vm_leave.EVACUABLE


def test_there_is_no_other_reason_to_refuse() -> None:
    assert guards().keys() == REFUSALS


def test_a_server_in_any_state_is_evacuated_made_ready_or_explained() -> None:
    known = vm_leave.EVACUABLE | vm_leave.RESETTABLE | vm_leave.GONE | vm_leave.STUCK.keys()
    assert set(fields.InstanceState.ALL) - known == {"building", "resized", "shelved_offloaded"}
    assert set(fields.InstanceState.ALL) >= original.KEPT


def test_every_task_in_which_a_host_may_die_is_known() -> None:
    known = vm_leave.DEAD_TASKS | vm_leave.DELETE_TASKS | vm_leave.REBUILD_TASKS
    assert set(fields.InstanceTaskState.ALL) - known == ELSEWHERE
    assert known <= set(fields.InstanceTaskState.ALL)
    assert set(task_states.rebuild_states) == vm_leave.REBUILD_TASKS
    assert original.MEANT.keys() <= vm_leave.DEAD_TASKS


def test_a_force_down_is_kept_by_evacuations_that_are_done() -> None:
    """And by no record that counts as completed here, else a host would never be taken back."""
    asked = ast.unparse(method("api/openstack/compute/services.py", "_check_for_evacuations"))
    assert "'status': 'done'" in asked
    assert "done" in facts.UNFINISHED
    assert "completed" not in facts.UNFINISHED


def test_what_a_returning_host_tidies_up_is_waited_for() -> None:
    asked = method("compute/manager.py", "_destroy_evacuated_instances")
    statuses = next(
        ast.literal_eval(value)
        for node in ast.walk(asked)
        if isinstance(node, ast.Dict)
        for key, value in zip(node.keys, node.values, strict=True)
        if isinstance(key, ast.Constant) and key.value == "status"
    )
    assert set(statuses) <= facts.UNFINISHED


def test_its_words_are_the_ones_that_are_looked_for() -> None:
    assert LEAVES_STOPPED in exception.NotSupportedComputeForEvacuateV295.msg_fmt
    assert repr(NOT_RUNNING) in ast.unparse(method("compute/manager.py", "get_diagnostics"))


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.mark.parametrize("highest", ["2.53", "2.67", "2.94", "2.95", "2.104"])
def test_whatever_is_asked_of_nova_is_what_it_takes_at_that_version(
    server: Server, highest: str
) -> None:
    here = [{"rel": "self", "href": f"{server.url}/"}]
    version = {"id": "v2.1", "status": "CURRENT", "version": highest, "min_version": "2.1"}
    server.say("GET", "/", 200, {"version": version | {"links": here}})
    server.say("POST", "/servers/v-1/action", 202, {})
    server.say("PUT", "/os-services/s-1", 200, {})
    session = Session(auth=noauth.NoAuth(endpoint=f"{server.url}/"))
    nova = Nova(Connection(session=session, compute_endpoint_override=f"{server.url}/"))
    nova.evacuate("v-1")
    nova.evacuate("v-1", "h2")
    for state in ("active", "error"):
        nova.reset_state("v-1", state)
    for action in ACTIONS:
        nova.act("v-1", action)
    for forced in (True, False):
        nova.force_down("s-1", forced)
    nova.disable("s-1", "vmha: storage-lost")
    nova.enable("s-1")

    sent = [r for r in server.requests if r.method in ("POST", "PUT")]
    assert len(sent) == 8 + len(ACTIONS)
    for request in sent:
        assert request.version is not None
        check(request.method, request.body, request.version.split()[1])


def check(verb: str, body: dict[str, object], version: str) -> None:
    """Have Nova's own schema of that version judge a body; raises its `ValidationError`."""
    (action,) = body if verb == "POST" else [""]
    takes = services.ServiceController.update if verb == "PUT" else handler(action)
    asked = SimpleNamespace(api_version_request=api_version_request.APIVersionRequest(version))
    schema = takes.request_body_schemas(asked)
    assert schema is not None
    validators._SchemaValidator(schema, is_body=True).validate(body)


def handler(action: str) -> Any:
    """Return the method of Nova's API that takes an action on a server."""
    kind = next(c for c in CONTROLLERS if action in c.wsgi_actions)
    return getattr(kind, kind.wsgi_actions[action])
