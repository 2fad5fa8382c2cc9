# SPDX-License-Identifier: Apache-2.0
"""Configuration files: what hosts get and must not get, and that secrets stay private."""

from __future__ import annotations

import configparser
import stat
from pathlib import Path

import pytest
import yaml
from oslo_config import cfg

from tests.lab import config, credentials, layout, settings
from vmha_remediator import conf as product
from vmha_remediator.conf import webhook
from vmha_remediator.fencing import inventory


def read(*paths: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=True)
    parser.read(paths)
    return parser


def test_rendered_text_is_ini_with_booleans_as_oslo_writes_them() -> None:
    sections: dict[str, dict[str, object]] = {
        "DEFAULT": {"debug": False, "host": "h1", "unset": None},
        "api": {"port": 80},
    }
    assert config.render(sections) == "[DEFAULT]\ndebug = false\nhost = h1\n\n[api]\nport = 80\n"


def test_every_file_with_a_secret_is_private(lab: Path) -> None:
    config.write_control_plane()
    config.vmha_config()
    config.nova_compute_config("h1")
    config.ceilometer_polling_config("h1")
    known = credentials.passwords()
    secret = set(known.values())
    holders = [
        path
        for path in lab.rglob("*")
        if path.is_file() and any(word in path.read_text() for word in secret)
    ]
    assert len(holders) > len(settings.FILES)
    assert {stat.S_IMODE(path.stat().st_mode) for path in holders} == {0o600}


def test_everything_that_the_remediator_is_told_is_read(lab: Path) -> None:
    conf = product.load(config_files=[str(config.vmha_config())])
    assert product.unread(conf) == []


def test_passwords_are_made_once_a_lab(lab: Path) -> None:
    first = dict(credentials.passwords())
    credentials.passwords.cache_clear()
    assert credentials.passwords() == first
    assert len(set(first.values())) == len(credentials.NAMES)


def test_a_compute_host_has_its_own_identity_and_no_database(lab: Path) -> None:
    config.write_control_plane()
    one, two = (read(*config.nova_compute_config(host)) for host in ("h1", "h2"))
    assert one["DEFAULT"]["host"] == "h1"
    assert one["DEFAULT"]["my_ip"] == layout.HOST_ADDRESS["h1"]
    assert one["DEFAULT"]["instances_path"] == str(layout.shared("h1") / "instances")
    assert one["DEFAULT"]["state_path"] != two["DEFAULT"]["state_path"]
    assert "database" not in one
    assert "api_database" not in one


def test_a_compute_id_is_the_hosts_own_and_stays(lab: Path) -> None:
    ids = []
    for host in ("h1", "h2", "h1"):
        config.nova_compute_config(host)
        ids.append((layout.host_dir(host) / "nova/compute_id").read_text())
    assert ids[0] == ids[2] != ids[1]


@pytest.mark.parametrize("option", ["service_down_time", "report_interval"])
def test_nova_judges_hosts_with_its_own_defaults(lab: Path, option: str) -> None:
    config.write_control_plane()
    everything = read(layout.ETC / "nova/controller.conf", *config.nova_compute_config("h1"))
    assert option not in everything["DEFAULT"]


def test_polling_gives_up_at_once_when_the_broker_is_gone(lab: Path) -> None:
    polling = read(*config.ceilometer_polling_config("h1"))
    assert polling["oslo_messaging_notifications"]["retry"] == "0"
    assert polling["oslo_messaging_rabbit"]["heartbeat_timeout_threshold"] == "6"
    assert polling["vmha"]["agent_socket"] == str(layout.host_dir("h1") / "agent.sock")


def test_token_checks_read_our_file(lab: Path) -> None:
    config.write_control_plane()
    for service in ("gnocchi", "aodh"):
        paste = read(layout.ETC / service / "api-paste.ini")
        own = str(layout.ETC / service / f"{service}.conf")
        filters = [s for s in paste.sections() if paste[s].get("oslo_config_project") == service]
        assert filters
        assert {paste[section]["oslo_config_file"] for section in filters} == {own}


def test_the_product_accepts_its_configuration(lab: Path) -> None:
    loaded = product.load(config_files=[str(config.vmha_config())])
    assert loaded.webhook.base_url == layout.url("vmha")
    assert loaded.api.host == layout.CONTROLLER
    assert len(webhook.read_key(loaded.webhook.key_file)) == 64


def test_the_webhook_key_survives_a_second_writing(lab: Path) -> None:
    keys = [(config.vmha_config(), (lab / "etc/vmha/webhook.key").read_text())[1] for _ in "12"]
    assert keys[0] == keys[1]


def test_every_host_can_be_fenced_by_redfish_then_by_a_person(lab: Path) -> None:
    (layout.ETC / "redfish").mkdir()
    credentials.write_private(layout.ETC / "redfish/password", "secret")
    loaded: cfg.ConfigOpts = product.load(config_files=[str(config.vmha_config())])
    found = inventory.load(loaded.fencing.hosts_file, timeout=30, confirmed=lambda _: None)
    assert found.problems == {}
    order = {host: [m.name for level in own for m in level] for host, own in found.levels.items()}
    assert order == {host: ["redfish", "manual"] for host in layout.HOSTS}


def test_clouds_yaml_has_a_cloud_for_each_role(lab: Path) -> None:
    config.write_control_plane()
    clouds = yaml.safe_load((layout.ETC / "clouds.yaml").read_text())["clouds"]
    roles = {name: cloud["auth"]["project_name"] for name, cloud in clouds.items()}
    assert roles == {"lab-admin": "admin", "lab-vmha": "service", "lab-demo": "demo"}
