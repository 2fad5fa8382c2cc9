# SPDX-License-Identifier: Apache-2.0
"""Who may do what: oslo.policy rules as data, with reader and administrator defaults."""

from __future__ import annotations

from oslo_config import cfg
from oslo_log import log
from oslo_policy import opts as policy_opts
from oslo_policy import policy

from vmha_remediator.errors import MALFORMED, ConfigError, in_short

LOG = log.getLogger(__name__)

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


#: The check that lets nobody pass.
_NOBODY = "!"
NAMES = frozenset(_READ) | frozenset(_CHANGE)


def make_enforcer(conf: cfg.ConfigOpts) -> policy.Enforcer:
    """Return the enforcer of [oslo_policy], its file read; without a word there, the defaults.

    Raises `ConfigError` when that file could not decide: every request would find out.
    """
    policy_opts.set_defaults(conf)
    enforcer = policy.Enforcer(conf)
    enforcer.suppress_default_change_warnings = True
    enforcer.register_defaults(list_rules())
    named = conf.get_location("policy_file", "oslo_policy").location.is_user_controlled
    file = conf.oslo_policy.policy_file
    if named and conf.find_file(file) is None:
        raise _wrong(file, "there is no such file")
    try:
        enforcer.load_rules(force_reload=True)
        enforcer.check_rules(raise_on_violation=True)
    except policy.InvalidDefinitionError as exc:
        raise _wrong(file, f"rules lead to none, or round to themselves: {exc}") from exc
    except (*MALFORMED, cfg.Error, OSError) as exc:
        raise _wrong(file, f"it is no table of rules: {in_short(exc)}") from exc
    for name, rule in enforcer.file_rules.items():
        if str(rule.check) == _NOBODY != rule.check_str:  # what oslo.policy makes of nonsense
            raise _wrong(file, f"{name}: {rule.check_str!r} is no rule")
        if name.startswith("vmha:") and name not in NAMES:
            LOG.warning("[oslo_policy] policy_file: %s: nothing asks for the rule %s", file, name)
    return enforcer


def _wrong(file: str, why: str) -> ConfigError:
    return ConfigError(
        f"[oslo_policy] policy_file: {file}: {why}; correct it, or take the option out: the "
        "defaults hold then ('oslopolicy-sample-generator --namespace vmha' prints them)"
    )
