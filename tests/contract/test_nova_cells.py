# SPDX-License-Identifier: Apache-2.0
"""Nova's cells and zones, judged by the code of the Nova that is installed.

The lab has one cell. What a second one would change is decided in a few of Nova's functions; they
are run here, with the records of two cells in place of databases.
"""

from __future__ import annotations

import datetime
import re
from types import SimpleNamespace
from typing import Any

import pytest
from nova import conf as nova_conf
from nova import context as nova_context
from nova import exception, objects
from nova.api.openstack import api_version_request, common
from nova.api.openstack.compute import evacuate
from nova.compute import api as compute_api
from nova.conductor.manager import ComputeTaskManager
from nova.scheduler import request_filter
from nova.scheduler.host_manager import HostManager

from vmha_remediator.effects.nova_acts import NOT_IN_CELL
from vmha_remediator.remedy.aggregates import Aggregates
from vmha_remediator.remedy.facts import Aggregate
from vmha_remediator.remedy.unprotectable import HINDRANCES

objects.register_all()

CELLS = {
    name: objects.CellMapping(uuid=f"00000000-0000-0000-0000-00000000000{number}", name=name)
    for number, name in enumerate(("cell1", "cell2"), 1)
}
HOSTS = {"h1": "cell1", "h2": "cell1", "h9": "cell2"}
VM = "11111111-1111-1111-1111-111111111111"


@pytest.fixture
def context(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return an administrator's context; what is looked up in it depends on its cell."""
    nova_conf.CONF([], default_config_files=[])
    admin = nova_context.get_admin_context()

    def target(ctxt: Any, cell: Any) -> None:
        ctxt.cell_uuid = cell.uuid

    def mapping(ctxt: Any, host: str) -> Any:
        return SimpleNamespace(cell_mapping=CELLS[HOSTS[host]])

    def service(ctxt: Any, host: str) -> Any:
        if ctxt.cell_uuid != CELLS[HOSTS[host]].uuid:
            raise exception.ComputeHostNotFound(host=host)
        return SimpleNamespace(host=host)

    def instance(api: Any, ctxt: Any, server_id: str, **_: Any) -> Any:
        target(ctxt, CELLS["cell1"])  # as Nova leaves it once it has found the server
        return _instance()

    monkeypatch.setattr(nova_context, "set_target_cell", target)
    monkeypatch.setattr(objects.HostMapping, "get_by_host", mapping)
    monkeypatch.setattr(objects.Service, "get_by_compute_host", service)
    monkeypatch.setattr(common, "get_instance", instance)
    monkeypatch.setattr(compute_api, "instance_has_share", lambda ctxt, vm: False)
    monkeypatch.setattr(admin, "can", lambda *args, **kwargs: True)
    return admin


def _instance(**fields: Any) -> Any:
    values = {
        "uuid": VM, "host": "h1", "vm_state": "active", "task_state": None,
        "launched_at": datetime.datetime(2026, 11, 22), "user_id": "u", "project_id": "p",
        "flavor": objects.Flavor(extra_specs={}), "image_meta": objects.ImageMeta(
            properties=objects.ImageMetaProps()), "get_network_info": list,
        "save": None,  # nothing may be written before it is refused
    }  # fmt: skip
    return SimpleNamespace(**(values | fields))


def _evacuate(context: Any, dest: str) -> None:
    """Have Nova's controller evacuate a server of h1, whose service is up: that it asks first."""
    servers = object.__new__(compute_api.API)
    servers.network_api = SimpleNamespace(instance_has_extended_resource_request=lambda vm: False)
    servers.servicegroup_api = SimpleNamespace(service_is_up=lambda service: True)
    controller = object.__new__(evacuate.EvacuateController)
    controller.compute_api = servers
    controller.host_api = object.__new__(compute_api.HostAPI)
    version = api_version_request.APIVersionRequest("2.94")
    request = SimpleNamespace(
        environ={"nova.context": context},
        api_version_request=version,
        is_legacy_v2=lambda: False,
    )
    controller._evacuate(request, VM, body={"evacuate": {"host": dest}})


def test_a_named_host_of_another_cell_ends_in_an_error_of_novas_own(context: Any) -> None:
    """Before anything is written; one of the same cell gets as far as the dead host's service."""
    assert _refusal(context, "h9") == (500, NOT_IN_CELL)
    assert _refusal(context, "h2") == (400, "h1 is still in use")


def _refusal(context: Any, dest: str) -> tuple[int, str]:
    """Return the status and the words with which Nova refuses a destination."""
    words = f"{NOT_IN_CELL}|h1 is still in use"
    with pytest.raises(Exception, match=words) as caught:
        _evacuate(context, dest)
    found = re.search(words, str(caught.value))
    return caught.value.code, found[0] if found else ""  # type: ignore[attr-defined]


def test_the_scheduler_looks_at_the_cell_of_the_server_alone(
    context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    mapping = SimpleNamespace(cell_mapping=CELLS["cell1"])
    monkeypatch.setattr(objects.InstanceMapping, "get_by_instance_uuid", lambda ctxt, vm: mapping)
    asked: list[Any] = []

    def computes(ctxt: Any, cells: Any, compute_uuids: Any) -> tuple[Any, Any]:
        asked.extend(cells)
        return {}, {}

    for named in (None, objects.Destination(host="h2")):
        asked.clear()
        spec = objects.RequestSpec(requested_destination=named)
        ComputeTaskManager._restrict_request_spec_to_cell(context, _instance(), spec)
        manager = object.__new__(HostManager)
        manager.cells = list(CELLS.values())
        monkeypatch.setattr(manager, "_get_computes_for_cells", computes)
        list(manager.get_host_states_by_uuids(context, [], spec))
        assert [cell.name for cell in asked] == ["cell1"]


@pytest.mark.parametrize(("zone", "binds"), [("east", True), ("nova", False)])
def test_a_zone_that_is_no_aggregate_binds_nobody(
    context: Any, monkeypatch: pytest.MonkeyPatch, zone: str, binds: bool
) -> None:
    east = objects.Aggregate(uuid=VM, name="racks", metadata={"availability_zone": "east"})

    def known(ctxt: Any, key: str, value: str) -> list[Any]:
        return [east] if east.metadata[key] == value else []

    monkeypatch.setattr(objects.AggregateList, "get_by_metadata", known)
    spec = objects.RequestSpec(availability_zone=zone, requested_destination=None)
    request_filter.map_az_to_placement_aggregate(context, spec)
    assert bool(spec.requested_destination) is binds
    ours = Aggregates([Aggregate("racks", frozenset({"h1"}), {"availability_zone": "east"})])
    assert bool(ours.of_zone(zone)) is binds


def test_what_is_refused_for_good_is_known_by_novas_words(context: Any) -> None:
    refusals = (
        exception.OperationNotSupportedForVTPM(instance_uuid=VM, operation="evacuate"),
        exception.ForbiddenWithShare(),
        exception.ForbiddenPortsWithAccelerator(),
    )
    for hindrance, refusal in zip(HINDRANCES, refusals, strict=False):
        assert hindrance.refusal in str(refusal)
    assert [h.refusal for h in HINDRANCES[len(refusals) :]] == [""]
