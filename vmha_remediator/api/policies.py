# SPDX-License-Identifier: Apache-2.0
"""Who may do what: oslo.policy rules as data, with reader and administrator defaults."""

from __future__ import annotations

from oslo_config import cfg
from oslo_policy import opts as policy_opts
from oslo_policy import policy

ADMIN, READER = "vmha_admin", "vmha_reader"

#: Incidents and hosts show every project's VMs, so a project's own reader may not read them: the
#: role has to be given on the system, or the deployment widens `vmha_reader` in policy.yaml.
ROLES: dict[str, tuple[str, str]] = {
    ADMIN: ("role:admin", "May change what happens to hosts and incidents."),
    READER: (
        f"rule:{ADMIN} or (role:reader and system_scope:all)",
        "May see hosts, incidents, alarms and which VMs are protected, of all projects.",
    ),
}

_READ = {
    "vmha:cluster:get": "See what stands for the cluster as a whole and who leads.",
    "vmha:hosts:list": "List hosts with their evidence, verdicts and protected VMs.",
    "vmha:hosts:get": "See one host.",
    "vmha:incidents:list": "List incidents.",
    "vmha:incidents:get": "See one incident with its journal, evidence and VMs.",
    "vmha:alarms:list": "List the alarms that watch the hosts.",
    "vmha:capacity:get": "See whether the protected VMs of each host have room on the others.",
    "vmha:protection:list": "See which VMs are protected, and which cannot be.",
}
_CHANGE = {
    "vmha:hosts:maintenance": "Put a host into maintenance, or end it.",
    "vmha:hosts:recover": "Have a host that is down recovered now.",
    "vmha:hosts:confirm_fenced": "Confirm that a host is off, in place of a fencing device.",
    "vmha:hosts:release": "Let the held incident of a host go on.",
    "vmha:incidents:cancel": "Close an incident before its host is fenced.",
    "vmha:incidents:retry": "Try now what an incident would try again later.",
    "vmha:incidents:release": "Let a held incident go on.",
}


def list_rules() -> list[policy.RuleDefault]:
    """Return every rule with its default; entry point of oslopolicy-sample-generator."""
    rules = [policy.RuleDefault(name, check, text) for name, (check, text) in ROLES.items()]
    for table, role in ((_READ, READER), (_CHANGE, ADMIN)):
        rules += [policy.RuleDefault(name, f"rule:{role}", text) for name, text in table.items()]
    return rules


NAMES = frozenset(_READ) | frozenset(_CHANGE)


def make_enforcer(conf: cfg.ConfigOpts) -> policy.Enforcer:
    """Return the enforcer of [oslo_policy]; a policy file that is not there means defaults."""
    policy_opts.set_defaults(conf)
    enforcer = policy.Enforcer(conf)
    enforcer.suppress_default_change_warnings = True
    enforcer.register_defaults(list_rules())
    return enforcer
