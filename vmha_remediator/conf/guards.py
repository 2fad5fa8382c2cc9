# SPDX-License-Identifier: Apache-2.0
"""[guards]: when a failure is not believed, or not acted on."""

from __future__ import annotations

from oslo_config import cfg

GROUP = "guards"

OPTS: list[cfg.Opt] = [
    cfg.FloatOpt(
        "storm_share",
        default=0.5,
        min=0.0,
        max=1.0,
        help="Largest share of the hosts that may fail at once (one host always may; hosts in "
        "maintenance are not counted). More fail: each of them whose fencing has not begun yet is "
        "held, for which of them are too many nobody can say. Too high: a mistake in the network "
        "can fence the whole cloud. Too low: a lost rack waits for a person.",
    ),
    cfg.FloatOpt(
        "storm_window",
        default=300.0,
        min=0.0,
        help="Seconds for which a recovered host still counts as failing in storm_share, and for "
        "which a storm must be over before what it holds is judged anew. Too short: hosts that "
        "fail one after another are not seen as a storm. Too long: what is held waits longer.",
    ),
    cfg.IntOpt(
        "min_healthy",
        default=1,
        min=0,
        help="Fewest healthy hosts that must be left, else the incident is held. Too low: the "
        "last hosts are flooded with VMs. Too high: a small cloud recovers nothing. Even with 0 "
        "an incident is held while no other host is left at all.",
    ),
    cfg.FloatOpt(
        "contradiction_tolerance",
        default=3.0,
        min=0.0,
        help="Seconds by which nova-compute's last report to Nova may be later than the last "
        "heartbeat heard. Too small: clocks that differ hold true failures. Too large: a host "
        "that lives is noticed late.",
    ),
    cfg.FloatOpt(
        "compute_silent",
        default=25.0,
        min=1.0,
        help="Seconds without a report after which nova-compute no longer speaks for its host: "
        "what contradiction_tolerance held is judged anew. Shorter than Nova's report_interval "
        "(10 s by default): a living host is fenced between two reports. Long: a host that lost "
        "its agent first, and then its power, is recovered late.",
    ),
    cfg.FloatOpt(
        "boot_grace",
        default=600.0,
        min=0.0,
        help="Seconds that a fenced host, all whose VMs have been dealt with, is given to boot "
        "after it was found switched on again; until then it is not fenced anew. Shorter than "
        "the slowest server boots: it is switched off each time while VMs of it are pending. "
        "Long: pending VMs of a host that hangs in its boot wait so much longer.",
    ),
    cfg.FloatOpt(
        "fence_again",
        default=10.0,
        min=1.0,
        help="Seconds before a host that is held, because nothing proved it off, is fenced "
        "again; the pause doubles. Short: a BMC that hangs is asked all the time.",
    ),
    cfg.FloatOpt(
        "fence_again_limit",
        default=300.0,
        min=1.0,
        help="Longest pause between two such attempts, in seconds. Long: a BMC that answers "
        "again is noticed late.",
    ),
    cfg.FloatOpt(
        "report_after",
        default=6.0,
        min=0.0,
        help="Seconds for which a situation that is only reported must stand before it is. Too "
        "short: a host that loses power is reported as partitioned first. Failures are not "
        "delayed by it.",
    ),
    cfg.FloatOpt(
        "clear_after",
        default=15.0,
        min=0.0,
        help="Seconds for which a reported situation must be over before its incident is "
        "cleared. Too short: a flapping link means a report a second.",
    ),
    cfg.FloatOpt(
        "heard_after",
        default=10.0,
        min=1.0,
        help="Seconds for which a fenced host must be heard again before that is believed. "
        "Until then nothing is started elsewhere. Too short: a witness that has just taken over "
        "holds an incident.",
    ),
    cfg.IntOpt(
        "flap_after",
        default=3,
        min=0,
        help="So many situations that are only reported, of one host within flap_window, make it "
        "flapping: told once, without waiting for report_after. 0: never. Too low: two "
        "unrelated troubles are called flapping.",
    ),
    cfg.FloatOpt(
        "flap_window",
        default=300.0,
        min=1.0,
        help="Seconds in which flap_after counts. Too short: a link that fails every few "
        "minutes is told each time.",
    ),
    cfg.FloatOpt(
        "flap_calm",
        default=300.0,
        min=0.0,
        help="Seconds for which a flapping host must be in no situation before that is cleared. "
        "Too short: it is told again and again.",
    ),
    cfg.IntOpt(
        "quarantine_after",
        default=3,
        min=0,
        help="A host that has been fenced more often than this within quarantine_window is not "
        "taken back when it returns: it stays forced down until a person releases its incident. "
        "0: every host is always taken back. Too low: a host is kept out after ordinary repairs. "
        "Too high: VMs are placed again and again on a host that keeps failing.",
    ),
    cfg.FloatOpt(
        "quarantine_window",
        default=86400.0,
        min=1.0,
        help="Seconds in which quarantine_after counts; longer than incidents are kept in the "
        "database makes no difference. Too short: a host that fails once a day is always taken "
        "back.",
    ),
]
