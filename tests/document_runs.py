# SPDX-License-Identifier: Apache-2.0
"""What is done about each command that the documents show: run here, run in the lab, or why not.

A command that stands in a page and not here fails `tests/unit/docs/test_documents.py`, and so does
one that stands here and in no page.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Here:
    """Run without a cloud (tests/unit/docs/test_documents.py), in a folder of its own.

    `before` are commands that make what it needs, `add` is what a reader answers or chooses,
    `instead` replaces words that stand for something else. `says` has to be printed.
    """

    says: str = ""
    before: tuple[str, ...] = ()
    add: str = ""
    instead: tuple[tuple[str, str], ...] = ()
    status: int = 0


@dataclass(frozen=True)
class InLab:
    """Run on the real cloud (tests/lab/suite/test_documents.py); `after` puts things right again.

    With `refusable` it may also be refused in plain words, since what it wants is not there now:
    an incident, say. Commands of one `story` share a shell, in the order of this table.
    """

    says: str = ""
    add: str = ""
    instead: tuple[tuple[str, str], ...] = ()
    after: tuple[str, ...] = ()
    refusable: bool = False
    story: str = ""


@dataclass(frozen=True)
class Not:
    """Not run as it stands: why, and the test that covers what it does ("" if none can)."""

    why: str
    test: str = ""


Plan = Here | InLab | Not

_LAB_PYTHON = ((".venv/bin/python", "python"),)
_DRY = Here(add="--dry-run")  # make says what it would do; that the target exists is what counts
_NAME = Here(add="--help")  # only its name is mentioned
_AREA = ("vmha-agent init /shared/vmha/lease --hosts 64 --cluster cloud-1",)
_SLOTS = ("vmha-agent init /mnt/shared/vmha/slots --hosts 64 --cluster prod",)
_SET = 'vmha-manage host maintenance set compute-1 --reason "new memory" --hours 2 --unknown'
_SYSTEMD = Not(
    "needs systemd as the first process",
    "tests/unit/docs/test_commands.py::test_every_unit_is_one_that_systemd_takes",
)
_FIRST = Not("makes an environment of the machine's", "tests/unit/packaging/test_wheel.py::"
             "test_the_command_runs_from_the_wheel")  # fmt: skip
_CRASHES = (
    "tests/scenarios/test_crashes.py::test_an_engine_killed_anywhere_ends_the_story_the_same"
)
_STACK = (
    "tests/lab/suite/test_heat.py::"
    "test_a_stacks_server_is_protected_and_survives_its_guest_and_its_host"
)
_SERVED = "VMHA_CONFIG_FILES=/etc/vmha/vmha.conf PROMETHEUS_MULTIPROC_DIR=/run/vmha/metrics"
_WSGI = Not("serves until it is ended", "tests/unit/cmd/test_wsgi_servers.py::"
            "test_several_workers_write_each_word_once")  # fmt: skip
_LAB_ITSELF = Not("changes the lab under the other tests", "tests/conftest.py::lab")
_SOAK = Not("half an hour", "tests/lab/suite/test_no_failure.py::"
            "test_it_gets_its_verdict_and_nothing_else_comes_of_it")  # fmt: skip

PLANS: Mapping[str, Plan] = {
    # --- make, the lab, the scenarios
    "make help": Here("demo"),
    **{
        f"make {words}": _DRY
        for words in (
            "bench-agent", "bench-evacuate N=50", "bench-failover", "bench-webhook", "demo",
            "deps", "down", "lab", "lab-test LABS=2", "lint",
            "nightly", "soak", "soak-sim", "test", "unit",
        )
    },
    "python -m tests.unit.docs.tables": Not(
        "writes into the checkout", "tests/unit/docs/test_tables.py::"
        "test_a_page_shows_what_is_so_now"),
    "python -m tests.web.pictures": Not(
        "writes into the checkout", "tests/web/test_pictures.py::test_they_can_be_taken_anew"),
    "python -m tests.lab --help": Here("wait for a verdict"),
    ".venv/bin/python -m tests.lab --help": Here("wait for a verdict", instead=_LAB_PYTHON),
    ".venv/bin/python -m tests.lab soak --list": Here("power-loss", instead=_LAB_PYTHON),
    ".venv/bin/python -m tests.lab soak --only 19 20 flap --runs 20 --quick": _SOAK,
    ".venv/bin/python -m tests.lab soak --seed 7 --json soak.json": _SOAK,
    ".venv/bin/python -m tests.lab up": _LAB_ITSELF,
    "tools/beside .venv/bin/python -m tests.lab up": _LAB_ITSELF,
    ".venv/bin/python -m tests.lab status": InLab("remediator", instead=_LAB_PYTHON),
    ".venv/bin/python -m tests.lab guests": InLab("vm-1", instead=_LAB_PYTHON),
    ".venv/bin/python -m tests.lab down": _LAB_ITSELF,
    ".venv/bin/python -m tests.lab boot 12 --mix": _LAB_ITSELF,
    ".venv/bin/python -m tests.lab service start rabbitmq": InLab(instead=_LAB_PYTHON),
    ".venv/bin/python -m tests.lab service stop rabbitmq": Not(
        "an outage", "tests/lab/suite/test_outages.py::"
        "test_what_is_down_is_named_until_it_is_back"),
    ".venv/bin/python -m tests.lab service stop h1-compute": Not(
        "an outage", "tests/lab/suite/test_hosts.py::test_guests_outlive_their_nova_compute"),
    ".venv/bin/python -m tests.lab service start heat": Not(
        "slow", _STACK),
    ".venv/bin/python -m tests.lab vm-alarms on": Not(
        "slow", "tests/lab/suite/test_vm.py::"
        "test_a_vm_that_dies_runs_again_in_place_and_one_that_cannot_live_is_told_of"),
    ".venv/bin/python -m tests.lab kill-vm vm-3": Not(
        "a fault", "tests/lab/suite/test_vm.py::"
        "test_a_vm_that_dies_runs_again_in_place_and_one_that_cannot_live_is_told_of"),
    ".venv/bin/python -m tests.lab spoil-vm vm-3": Not(
        "a fault", "tests/lab/suite/test_destination.py::"
        "test_an_evacuation_that_fails_half_way_is_tried_again_where_it_failed"),
    "export OS_CLIENT_CONFIG_FILE=.lab/etc/clouds.yaml": InLab(story="clouds"),
    "openstack --os-cloud lab-admin compute service list": InLab("nova-compute", story="clouds"),
    "openstack --os-cloud lab-demo server list": InLab(story="clouds"),
    "python -m tests.scenarios": Not(
        "two minutes", "tests/scenarios/test_scenarios.py::test_scenario"),
    "python -m tests.scenarios --bless [NAME]": Not(
        "writes into the checkout", "tests/scenarios/test_scenarios.py::test_scenario"),
    "python -m tests.scenarios --list": Here("power-loss"),
    "python -m tests.scenarios NAME": Here("failure", instead=(("NAME", "power-loss"),)),
    "python -m tests.scenarios crash": _NAME,
    "python -m tests.scenarios crash --all --brief": Not(
        "hours", _CRASHES),
    "python -m tests.scenarios crash NAME": Not(
        "minutes", _CRASHES),
    "python -m tests.scenarios crash NAME --at 17": Here(instead=(("NAME", "power-loss"),)),
    "python -m tests.scenarios explore --seed 17": Here(),
    "python -m tests.scenarios explore --seeds 1000": Here(instead=(("1000", "2"),)),
    "python -m tests.scenarios mutants": Not(
        "minutes", "tests/scenarios/test_mutants.py::test_a_mutant_takes_what_the_guard_takes"),
    # --- installing
    "python3 -m venv /opt/vmha": _FIRST,
    "pip install '.[cli]'": _FIRST,
    "/opt/vmha/bin/pip install '.[pollsters,cli,mysql]'": _FIRST,
    "/opt/vmha/bin/pip install '.[pollsters]'": _FIRST,
    "ln -s /opt/vmha/bin/vmha-* /usr/local/bin/": _FIRST,
    "oslo-config-generator --namespace vmha.remediator": Here("[fencing]"),
    "oslopolicy-sample-generator --namespace vmha": Here("vmha_reader"),
    'python -c "import vmha_alarm_templates as t; print(t.__path__[0])"': Here(
        "alarm-templates", instead=(("python ", "python -P "),)),
    "oslo-config-generator --namespace vmha.agent": Here("lease_path"),
    "install -d /etc/vmha": Here(),
    "useradd --system --home-dir /var/lib/vmha --create-home --shell /usr/sbin/nologin vmha": Not(
        "makes an account of the machine's"),
    "chown root:vmha /etc/vmha/webhook.key": Not("needs that account"),
    "cp etc/systemd/vmha-*.service /etc/systemd/system/": Here(),
    'sed -i "s|=/usr/bin/|=/opt/vmha/bin/|" /etc/systemd/system/vmha-*.service': Here(
        "=/opt/vmha/bin/vmha-engine --config-file", before=("cp etc/systemd/vmha-*.service "
        "/etc/systemd/system/",), add="&& grep ^ExecStart= /etc/systemd/system/*.service"),
    "head -c 32 /dev/urandom | base64 > /etc/vmha/heartbeat.key": Here(),
    "chmod 600 /etc/vmha/heartbeat.key": Here(before=("touch /etc/vmha/heartbeat.key",)),
    "head -c 32 /dev/urandom | base64 > /etc/vmha/webhook.key": Here(),
    "chmod 640 /etc/vmha/webhook.key": Here(before=("touch /etc/vmha/webhook.key",)),
    "openssl rand -hex 32 | install -m 640 -g vmha /dev/stdin /etc/vmha/webhook.key": Here(),
    "install -m 600 -o vmha /dev/stdin /etc/vmha/bmc.password": Here(),
    f"{_SERVED} gunicorn --bind 0.0.0.0:8778 --workers 3 --threads 4 "
    "vmha_remediator.api.wsgi:application": _WSGI,
    f"{_SERVED} uwsgi --http 0.0.0.0:8778 --module vmha_remediator.api.wsgi --master "
    "--processes 3 --threads 4 --lazy-apps --need-app --disable-logging --die-on-term": _WSGI,
    **{
        f"systemctl {words}": _SYSTEMD
        for words in (
            "daemon-reload", "edit vmha-agent", "enable --now vmha-agent",
            "enable --now vmha-notification", "enable --now vmha-polling",
            "enable --now vmha-remediator",
        )
    },
    "systemctl stop vmha-remediator": _SYSTEMD,
    "systemctl restart vmha-agent vmha-polling": _SYSTEMD,
    "systemctl disable --now vmha-agent vmha-polling": _SYSTEMD,
    "systemctl reload vmha-agent": _SYSTEMD,
    'journalctl -u vmha-agent --since "1 hour ago"': _SYSTEMD,
    'journalctl -u vmha-remediator --since "1 hour ago"': _SYSTEMD,
    # --- the agent
    "vmha-agent init": _NAME,
    "vmha-agent dump": _NAME,
    "vmha-agent forget": _NAME,
    "vmha-agent watchdog": _NAME,
    _AREA[0]: Here(),
    _SLOTS[0]: Here(),
    "vmha-agent dump /mnt/shared/vmha/slots": Here("prod", before=_SLOTS),
    "vmha-agent forget /mnt/shared/vmha/slots compute-17": Here(
        "compute-17", before=_SLOTS, status=1),
    "vmha-agent forget /shared/vmha/lease compute-17": Here("compute-17", before=_AREA, status=1),
    "vmha-agent --config-file /etc/vmha/agent.conf": Not(
        "serves until it is ended", "tests/conftest.py::lab"),
    "vmha-agent status": InLab("lease"),
    "vmha-agent status --all": InLab("h3"),
    # --- telemetry, alarms, database
    "vmha-manage telemetry render --dir /etc/vmha/ceilometer": Here("pipeline.yaml"),
    "vmha-manage telemetry render --dir /etc/vmha/ceilometer --vms": Here("pipeline.yaml"),
    "vmha-manage telemetry setup": InLab("vmha"),
    "vmha-manage alarms lint": Here(),
    "vmha-manage alarms timing": Here("to the engine's judgement"),
    "vmha-manage alarms sync": InLab("unchanged"),
    "vmha-manage alarms sync --dry-run": InLab("unchanged"),
    "vmha-manage --config-file /etc/vmha/vmha.conf alarms sync": InLab("unchanged"),
    "vmha-manage alarms sync --vms": Not(
        "changes the alarms under the other tests", "tests/lab/suite/test_vm.py::"
        "test_a_vm_that_dies_runs_again_in_place_and_one_that_cannot_live_is_told_of"),
    "vmha-manage alarms sync --vms --dry-run": InLab(),
    "vmha-manage alarms delete --host compute-17": InLab(),
    "vmha-manage db upgrade": Here(),
    "runuser -u vmha -- vmha-manage db upgrade": Here(instead=(("runuser -u vmha -- ", ""),)),
    'sqlite3 /var/lib/vmha/vmha.sqlite ".backup /var/backups/vmha.sqlite"': Here(
        before=("vmha-manage db upgrade",)),
    "mariadb-dump --single-transaction vmha > /var/backups/vmha.sql": Not(
        "MariaDB's own, with the operator's account"),
    "pg_dump --file /var/backups/vmha.sql vmha": Not(
        "PostgreSQL's own, with the operator's account"),
    "vmha-manage vm restarts": Here(),
    # --- the doctor
    **{
        f"vmha-manage {words}": InLab("ok", refusable=True)
        for words in (
            "doctor", "doctor --wrong", "doctor --area hosts",
            "--config-file /etc/vmha/vmha.conf doctor",
        )
    },
    "vmha-manage doctor --json --area hosts": InLab('"state"', refusable=True),
    "vmha-manage doctor --area settings --nova-config /etc/nova/nova.conf --gnocchi-config "
    "/etc/gnocchi/gnocchi.conf --aodh-config /etc/aodh/aodh.conf --ceilometer-config "
    "/etc/ceilometer/ceilometer.conf": InLab(refusable=True),
    # --- fencing
    "vmha-manage fence list": Here("compute-1"),
    "vmha-manage fence timing": Here("margin"),
    "vmha-manage fence test": InLab("h4"),
    "vmha-manage fence test HOST": InLab("h1"),
    "vmha-manage fence test compute-1": InLab("h1"),
    "vmha-manage fence status": InLab("on"),
    "vmha-manage fence confirm HOST": Here("compute-1", before=("held",), add="--yes",
                                           instead=(("HOST", "compute-1"),)),
    "vmha-manage fence confirm compute-1": Here("compute-1", before=("held",), add="--yes"),
    # --- incidents and maintenance
    "vmha-manage incident show": _NAME,
    "vmha-manage incident list": Here("compute-1", before=("held",)),
    "vmha-manage incident show ID": Here("no-proof", before=("held",)),
    "vmha-manage incident release ID": Here(before=("held",), add="--yes"),
    "vmha-manage incident purge --older-than 90": Here(before=("held",)),
    "vmha-manage incident purge --older-than 90 --dry-run": Here(before=("held",)),
    "vmha-manage host maintenance list": Here("new memory", before=(_SET,)),
    "vmha-manage host maintenance unset HOST": Here(
        before=(_SET,), instead=(("HOST", "compute-1"),)),
    "vmha-manage host maintenance unset compute-1": Here(before=(_SET,)),
    'vmha-manage host maintenance set compute-1 --reason "new memory" --hours 2': InLab(
        instead=(("compute-1", "h2"),), after=("vmha-manage host maintenance unset h2",)),
    # --- openstack vmha
    "openstack vmha": Not("the beginning of every one of them"),
    "openstack help vmha host list": InLab("usage: openstack vmha host list"),
    "openstack vmha host list": InLab("h4"),
    "openstack vmha host show HOST": InLab("h1"),
    "openstack vmha host recover HOST": InLab(add="--yes", refusable=True),
    "openstack vmha host confirm-fenced HOST": InLab(add="--yes", refusable=True),
    "openstack vmha alarm list": InLab("isolation"),
    "openstack vmha protection list": InLab("vm-1"),
    "openstack vmha capacity list": InLab("If it fails", refusable=True),
    "openstack vmha protection list --problems": InLab(),
    "openstack vmha incident list": InLab(),
    "openstack vmha incident list --all": InLab(),
    "openstack vmha incident show ID": InLab(refusable=True),
    "openstack vmha incident watch ID": InLab(refusable=True),
    "openstack vmha incident release ID": InLab(add="--yes", refusable=True),
    "openstack vmha incident retry ID": InLab(refusable=True),
    'openstack vmha incident cancel ID --reason "a drill"': InLab(add="--yes", refusable=True),
    'openstack vmha maintenance set HOST --reason "new memory" --hours 2': InLab(story="pause"),
    "openstack vmha maintenance unset HOST": InLab(story="pause"),
    # --- openstack
    "TOKEN=$(openstack token issue -f value -c id)": InLab(story="curl"),
    'curl -H "X-Auth-Token: $TOKEN" http://CONTROLLER:8778/v1/hosts': InLab(
        '"hosts"', story="curl"),
    "curl -H \"X-Auth-Token: $TOKEN\" 'http://CONTROLLER:8778/v1/incidents?active=true'": InLab(
        '"incidents"', story="curl"),
    "openstack user create --domain Default --password SECRET vmha": InLab(
        instead=((" vmha", " paper"),), story="account"),
    "openstack role add --user vmha --user-domain Default --project service admin": InLab(
        instead=(("--user vmha", "--user paper"),), story="account",
        after=("openstack user delete paper",)),
    "openstack metric resource list --type vmha_host -c host_name": InLab("h4"),
    "openstack service create --name vmha vmha": InLab(
        instead=(("--name vmha vmha", "--name paper paper"),), story="catalogue"),
    "openstack endpoint create vmha public http://CONTROLLER:8778": InLab(
        instead=(("create vmha", "create paper"),), story="catalogue",
        after=("openstack service delete paper",)),
    "openstack compute service list": InLab("nova-compute"),
    "openstack compute service delete": _NAME,
    "openstack compute service set --up HOST nova-compute": InLab(story="work"),
    'openstack compute service set --disable --disable-reason "leaves" HOST nova-compute': InLab(
        story="work"),
    'openstack compute service set --disable --disable-reason "new memory" HOST nova-compute':
        InLab(story="work"),
    "openstack server list --all-projects --host HOST": InLab("vm-", story="work"),
    "openstack compute service set --enable HOST nova-compute": InLab(story="work"),
    "openstack alarm quota set PROJECT --alarm 100000": Not("changes what the lab is allowed"),
    "openstack alarm quota show": _NAME,
    "openstack complete": Here("cmds_vmha"),
    "openstack metric delete --resource-id ID power.state": InLab(refusable=True),
    "openstack metric resource search --type vmha_host \"host_name='compute-17'\" -f value -c id":
        InLab(),
    "openstack metric resource delete RESOURCE": InLab(refusable=True),
    "openstack server evacuate": _NAME,
    "openstack server stop": _NAME,
    "openstack server set --state active": Not("names no server: which one, an incident says"),
    "openstack server set --state error": Not("tells what a person may have done"),
    "openstack server event list VM": _NAME,
    "openstack resource provider allocation show VM": Not("is osc-placement's, not in the lab"),
    "openstack baremetal node maintenance": Not("python-ironicclient's; only its name"),
    "openstack --os-compute-api-version 2.26 server set --tag vmha web-1": InLab(
        story="marks",
        after=(
            "openstack --os-compute-api-version 2.26 server unset --tag vmha "
            "--property HA_Enabled --property vmha:priority --property vmha:depends-on "
            "--property vmha:restart web-1",
        )),
    "openstack server set --property HA_Enabled=True web-1": InLab(story="marks"),
    "openstack server set --property vmha:priority=10 db-1": InLab(story="marks"),
    "openstack server set --property vmha:depends-on=db-1,cache-1 web-1": InLab(story="marks"),
    "openstack server set --property vmha:restart=never": InLab(story="marks", add="web-1"),
    "openstack flavor set --property evacuable=true m1.ha": InLab(
        story="marks", after=("openstack flavor unset --property evacuable m1.ha",)),
    "openstack image set --property evacuable=true debian-ha": InLab(
        story="marks", after=("openstack image unset --property evacuable debian-ha",)),
    "openstack stack create shop -t shop.yaml -e environment.yaml": Not(
        "slow", _STACK),
    "openstack stack create shop -t ha-group.yaml --parameter image=ubuntu --parameter "
    "flavor=m1.small --parameter size=3": Not("slow", _STACK),
}  # fmt: skip
