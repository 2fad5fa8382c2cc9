# SPDX-License-Identifier: Apache-2.0
"""[evacuation]: which VMs run again elsewhere, how many at a time, and how often it is tried."""

from __future__ import annotations

from oslo_config import cfg

from vmha_remediator.remedy.policy import Policy

GROUP = "evacuation"

OPTS: list[cfg.Opt] = [
    cfg.StrOpt(
        "protect",
        default="tagged",
        choices=["tagged", "all"],
        help="Which VMs are protected: 'tagged' (tag vmha, metadata HA_Enabled, flavor or image "
        "property evacuable) or 'all'. Wrong: VMs that nobody asked for are moved, or those "
        "that matter stay down.",
    ),
    cfg.StrOpt(
        "instance_disks",
        default="shared",
        choices=["shared", "local"],
        help="Where nova-computes keep disks that are not volumes: on storage that every host "
        "sees ('shared': NFS, CephFS, images_type rbd) or each on its own ('local'). 'shared' "
        "although they are local: Nova builds such VMs anew from their image, and what they wrote "
        "is lost. 'local' although they are shared: VMs without a volume are not recovered.",
    ),
    cfg.IntOpt(
        "parallel",
        default=32,
        min=1,
        help="Evacuations under way at a time in the whole cloud. Too many: the remaining "
        "hosts are flooded and Nova's messages time out. Too few: recovery takes longer.",
    ),
    cfg.IntOpt(
        "parallel_per_host",
        default=8,
        min=1,
        help="Evacuations under way at a time to one destination. Where the scheduler chooses, "
        "a host that has so many is avoided by naming others. Too many: a host is flooded, and "
        "its VMs start slowly. Too few: recovery takes longer.",
    ),
    cfg.StrOpt(
        "candidates",
        default="scheduler",
        choices=["scheduler", "spread", "reserved"],
        help="Who chooses where a VM runs again. 'scheduler': Nova's scheduler; while it could "
        "choose a host that is not well by the evidence, a healthy one is named instead. "
        "'spread': always a healthy host is named, the one with most free memory first, and "
        "the scheduler checks it. 'reserved': a host of reserved_hosts is enabled for each host "
        "that fails and named first, then the others as with 'spread'. Wrong: VMs crowd where "
        "the scheduler's weights would not have put them.",
    ),
    cfg.ListOpt(
        "reserved_hosts",
        default=[],
        help="Hosts kept for failures, by the names that 'openstack compute service list' "
        "shows; for candidates = reserved. Empty and no failure: they are disabled with the "
        "reason 'vmha: reserved'. A name that Nova does not know is ignored, and the reserve "
        "is missing when it is needed.",
    ),
    cfg.FloatOpt(
        "depends_wait",
        default=600.0,
        min=0.0,
        help="Longest time, in seconds, for which a VM waits for those named in its metadata "
        "vmha:depends-on, counted from the proof that its host is off. Too short: it starts "
        "before them. Too long: it stays down although they cannot come back.",
    ),
    cfg.IntOpt(
        "quick_attempts",
        default=3,
        min=1,
        help="Attempts before a VM is listed as pending. It is tried again after that too, at "
        "longer intervals.",
    ),
    cfg.FloatOpt(
        "retry_first",
        default=2.0,
        min=0.1,
        help="Seconds before the second attempt; doubled each time.",
    ),
    cfg.FloatOpt(
        "retry_limit",
        default=60.0,
        min=1.0,
        help="Longest pause between two attempts, in seconds. Too long: capacity that has come "
        "back is used late.",
    ),
    cfg.FloatOpt(
        "begin_wait",
        default=30.0,
        min=1.0,
        help="Seconds for which an evacuation that Nova has accepted and no destination has begun "
        "holds one of the places of 'parallel'. It may wait in the queue of a host that died; "
        "with those, at most twice 'parallel' are under way. Too short: a Nova that is slow is "
        "asked for twice as many. Too long: other VMs wait for a dead host.",
    ),
    cfg.FloatOpt(
        "stuck_after",
        default=900.0,
        min=10.0,
        help="Seconds after which an evacuation that makes no progress is listed as pending. "
        "Too short for large local disks: VMs are listed although they are on their way.",
    ),
    cfg.FloatOpt(
        "proof_age",
        default=5.0,
        min=1.0,
        help="Seconds after which the proof that a host is off is checked again before the next "
        "evacuation begins. Longer than a host needs from power to nova-compute: a VM that it "
        "starts again by itself may run twice.",
    ),
]


def policy(conf: cfg.ConfigOpts) -> Policy:
    """Return what is protected and what takes VMs: the part of the policy that people see."""
    group = conf[GROUP]
    return Policy(
        protect=group.protect,
        disks=group.instance_disks,
        candidates=group.candidates,
        reserved_hosts=frozenset(group.reserved_hosts),
    )
