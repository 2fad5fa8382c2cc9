# SPDX-License-Identifier: Apache-2.0
"""Nova's fake driver with real guests: what Nova asks for is done to a process.

Nova loads drivers from `nova.virt` only; `tests.lab.virt.compute` puts this module there, so
that the setting is `compute_driver = vmha_lab.LabDriver`. Disks are on the shared storage:
evacuation finds them (`instance_on_disk`), and destroying a stale guest leaves them.
"""

from __future__ import annotations

import functools
import shutil
import uuid
from collections.abc import Callable
from typing import Any, TypeVar, cast

import nova.conf
import nova.virt.node
from nova import exception
from nova.compute import power_state, task_states
from nova.virt import fake, hardware

from tests.lab.virt.hypervisor import (
    GuestStuckError,
    Hypervisor,
    Power,
    ProcessHypervisor,
    disk,
    instances_dir,
    spoiled,
)

CONF = nova.conf.CONF
Method = TypeVar("Method", bound=Callable[..., Any])

#: Traits of a host whose guests can have a virtual TPM, with its secrets kept for their owners.
_TPM = tuple(f"COMPUTE_SECURITY_TPM_{trait}" for trait in ("2_0", "CRB", "SECRET_SECURITY_USER"))
_POWER_STATES = {
    Power.RUNNING: power_state.RUNNING,
    Power.PAUSED: power_state.PAUSED,
    Power.SUSPENDED: power_state.SUSPENDED,
    Power.OFF: power_state.SHUTDOWN,
}


def _for_nova(method: Method) -> Method:
    """Let errors of the hypervisor reach Nova as Nova's own."""

    @functools.wraps(method)
    def call(self: LabDriver, *args: Any, **kwargs: Any) -> Any:
        try:
            return method(self, *args, **kwargs)
        except KeyError as exc:
            raise exception.InstanceNotFound(instance_id=str(exc.args[0])) from exc
        except (GuestStuckError, OSError) as exc:
            raise exception.NovaException(f"lab hypervisor of {CONF.host}: {exc}") from exc

    return cast(Method, call)


class LabDriver(fake.FakeDriverWithoutFakeNodes):
    """One node; 16 vCPU and 16 GB (over-commit by Nova's allocation ratios)."""

    vcpus = 16
    memory_mb = 16384
    local_gb = 500

    def __init__(self, virtapi: Any, read_only: bool = False) -> None:
        super().__init__(virtapi, read_only)
        self._guests: Hypervisor = ProcessHypervisor(CONF.host)

    def init_host(self, host: str) -> None:
        """Name the node unlike the host: who mixes them up is found out."""
        self._host = host
        self._set_nodes([f"{host}.node"])

    # what is there -----------------------------------------------------------------------

    def list_instances(self) -> list[str]:
        """Return the names of the guests, running or not."""
        return list(self._guests.defined().values())

    def list_instance_uuids(self) -> list[str]:
        """Return the uuids of the guests, running or not."""
        return list(self._guests.defined())

    def instance_exists(self, instance: Any) -> bool:
        """Return whether the guest is defined here."""
        return instance.uuid in self._guests.defined()

    @_for_nova
    def get_info(self, instance: Any, use_cache: bool = True) -> Any:
        """Return the power state, from the process."""
        return hardware.InstanceInfo(state=_POWER_STATES[self._guests.state(instance.uuid)])

    def get_num_instances(self) -> int:
        """Return how many guests are defined."""
        return len(self._guests.defined())

    def update_provider_tree(
        self, provider_tree: Any, nodename: str, allocations: Any = None
    ) -> None:
        """Offer virtual TPMs as well: with one a guest is placed, and never evacuated."""
        super().update_provider_tree(provider_tree, nodename, allocations)
        provider_tree.add_traits(nodename, *_TPM)

    # life --------------------------------------------------------------------------------

    @_for_nova
    def spawn(self, context: Any, instance: Any, *args: Any, **kwargs: Any) -> None:
        """Make the disk unless it is there (an evacuation), define the guest and run it."""
        where, mark = disk(CONF.host, instance.uuid), spoiled(CONF.host, instance.uuid)
        where.parent.mkdir(parents=True, exist_ok=True)
        where.touch()
        if mark.exists():
            mark.unlink()
            raise GuestStuckError(f"{instance.uuid} was to fail this time")
        self._guests.define(instance.uuid, instance.name)
        if kwargs.get("power_on", True):
            self._guests.start(instance.uuid)

    @_for_nova
    def destroy(
        self,
        context: Any,
        instance: Any,
        network_info: Any,
        block_device_info: Any = None,
        destroy_disks: bool = True,
        destroy_secrets: bool = True,
    ) -> None:
        """End and forget the guest; its disk goes only when Nova says so."""
        self._guests.stop(instance.uuid)
        self._guests.undefine(instance.uuid)
        if destroy_disks:
            shutil.rmtree(disk(CONF.host, instance.uuid).parent, ignore_errors=True)

    def cleanup(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: what is left after a guest has moved is its disk, which is shared."""

    @_for_nova
    def power_on(self, context: Any, instance: Any, *args: Any, **kwargs: Any) -> None:
        """Run the guest."""
        self._guests.start(instance.uuid)

    @_for_nova
    def power_off(self, instance: Any, timeout: int = 0, retry_interval: int = 0) -> None:
        """End the guest."""
        self._guests.state(instance.uuid)  # KeyError if it is not ours
        self._guests.stop(instance.uuid)

    @_for_nova
    def reboot(self, context: Any, instance: Any, *args: Any, **kwargs: Any) -> None:
        """End the guest and run it again."""
        if instance.uuid not in self._guests.defined():
            self._guests.define(instance.uuid, instance.name)
        self._guests.stop(instance.uuid)
        self._guests.start(instance.uuid)

    @_for_nova
    def resume_state_on_host_boot(
        self, context: Any, instance: Any, *args: Any, **kwargs: Any
    ) -> None:
        """Run a guest that ran before the host went down."""
        self._guests.start(instance.uuid)

    @_for_nova
    def pause(self, instance: Any) -> None:
        """Hold the process where it stands."""
        self._guests.pause(instance.uuid)

    @_for_nova
    def unpause(self, instance: Any) -> None:
        """Let the process run on."""
        self._guests.resume(instance.uuid)

    @_for_nova
    def suspend(self, context: Any, instance: Any) -> None:
        """End the process and say that it sleeps."""
        self._guests.suspend(instance.uuid)

    @_for_nova
    def resume(self, context: Any, instance: Any, *args: Any, **kwargs: Any) -> None:
        """Run a suspended guest."""
        self._guests.start(instance.uuid)

    @_for_nova
    def rescue(self, context: Any, instance: Any, *args: Any, **kwargs: Any) -> None:
        """Run the guest afresh, as from a rescue image."""
        self._guests.stop(instance.uuid)
        self._guests.start(instance.uuid)

    @_for_nova
    def unrescue(self, context: Any, instance: Any) -> None:
        """Run the guest afresh from its own disk."""
        self._guests.stop(instance.uuid)
        self._guests.start(instance.uuid)

    def snapshot(
        self, context: Any, instance: Any, image_id: str, update_task_state: Callable[..., Any]
    ) -> None:
        """Say that an image was made, which is all that shelving needs here."""
        update_task_state(task_state=task_states.IMAGE_UPLOADING)

    # shared storage ----------------------------------------------------------------------

    def instance_on_disk(self, instance: Any) -> bool:
        """Return whether this host sees the disk: the evacuation is one on shared storage."""
        return disk(CONF.host, instance.uuid).exists()

    def check_instance_shared_storage_local(self, context: Any, instance: Any) -> Any:
        """Leave a mark beside the disk, for the other host to look for."""
        if not self.instance_on_disk(instance):
            return None
        mark = f"{instance.uuid}/shared-{uuid.uuid4().hex}"
        (instances_dir(CONF.host) / mark).touch()
        return {"filename": mark}

    def check_instance_shared_storage_remote(self, context: Any, data: Any) -> bool:
        """Return whether the mark is seen here."""
        mark = instances_dir(CONF.host) / str(data["filename"])
        return mark.exists()

    def check_instance_shared_storage_cleanup(self, context: Any, data: Any) -> None:
        """Take the mark away."""
        (instances_dir(CONF.host) / data["filename"]).unlink(missing_ok=True)

    # moving ------------------------------------------------------------------------------

    @_for_nova
    def live_migration(
        self,
        context: Any,
        instance: Any,
        dest: str,
        post_method: Callable[..., Any],
        recover_method: Callable[..., Any],
        block_migration: bool = False,
        migrate_data: Any = None,
    ) -> None:
        """End the guest here before Nova has it run there."""
        try:
            self._guests.stop(instance.uuid)
        except GuestStuckError:
            recover_method(context, instance, dest, migrate_data)
            raise
        post_method(context, instance, dest, block_migration, migrate_data)

    def post_live_migration(
        self, context: Any, instance: Any, block_device_info: Any, migrate_data: Any = None
    ) -> None:
        """Forget a guest that has moved away."""
        self._guests.undefine(instance.uuid)

    @_for_nova
    def migrate_disk_and_power_off(
        self, context: Any, instance: Any, *args: Any, **kw: Any
    ) -> str:
        """End the guest here; the disk is there already."""
        self._guests.stop(instance.uuid)
        return ""

    def confirm_migration(
        self, context: Any, migration: Any, instance: Any, network_info: Any
    ) -> None:
        """Forget the guest on the source, unless it was resized in place."""
        if migration.source_compute != migration.dest_compute:
            self.destroy(context, instance, network_info, destroy_disks=False)

    @_for_nova
    def finish_revert_migration(
        self, context: Any, instance: Any, *args: Any, **kwargs: Any
    ) -> None:
        """Run the guest on the source again."""
        self._guests.define(instance.uuid, instance.name)
        if kwargs.get("power_on", True):
            self._guests.start(instance.uuid)
