# SPDX-License-Identifier: Apache-2.0
"""ceilometer-polling, with the lab's inspector in the place of libvirt's.

Run as `python -m tests.lab.virt.polling --config-file ...`; everything else is Ceilometer's. Its
option for another inspector accepts libvirt's only. The change is made when this module is
loaded, so that workers have it, too, however they are started.
"""

from __future__ import annotations

from ceilometer.cmd import polling
from ceilometer.compute.virt import inspector

from tests.lab.virt.inspector import LabInspector

inspector.get_hypervisor_inspector = LabInspector

if __name__ == "__main__":
    polling.main()
