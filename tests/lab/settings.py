# SPDX-License-Identifier: Apache-2.0
"""What each service of the control plane is told: tables of section -> option -> value.

Only what differs from the service's own default stands here, with the reason where it is not
plain. Nova's service_down_time and report_interval stay at their defaults on purpose: an
evacuation has to work through force-down, not because the lab is quick to give a host up.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.lab import layout
from tests.lab.credentials import passwords

Settings = dict[str, dict[str, object]]

REGION = "RegionOne"

#: Logical database numbers of the one Redis.
REDIS_DB = {"storage": 1, "incoming": 2, "coordination": 3, "leader": 4}

#: Nova's own defaults, and one that keeps hosts for projects by the metadata of their aggregates.
SCHEDULER_FILTERS = (
    "ComputeFilter",
    "ComputeCapabilitiesFilter",
    "ImagePropertiesFilter",
    "ServerGroupAntiAffinityFilter",
    "ServerGroupAffinityFilter",
    "AggregateMultiTenancyIsolation",
)


def database(name: str) -> str:
    """Return the SQLAlchemy URL of a database in the lab's MariaDB."""
    where = f"{layout.CONTROLLER}:{layout.PORTS['mariadb']}"
    return f"mysql+pymysql://lab:{passwords()['mariadb']}@{where}/{name}?charset=utf8mb3"


def transport() -> str:
    """Return the oslo.messaging URL of the lab's RabbitMQ."""
    where = f"{layout.CONTROLLER}:{layout.PORTS['rabbitmq']}"
    return f"rabbit://lab:{passwords()['rabbitmq']}@{where}/"


def redis(use: str) -> str:
    """Return the URL of one logical database of the lab's Redis."""
    where = f"{layout.CONTROLLER}:{layout.PORTS['redis']}"
    return f"redis://:{passwords()['redis']}@{where}?db={REDIS_DB[use]}"


def login(user: str) -> dict[str, object]:
    """Return keystoneauth options: `user` in project "service"."""
    return {
        "auth_type": "password",
        "auth_url": f"{layout.url('keystone')}/v3",
        "username": user,
        "password": passwords()[user],
        "project_name": "service",
        "user_domain_name": "Default",
        "project_domain_name": "Default",
        "region_name": REGION,
    }


def token_check(user: str) -> dict[str, object]:
    """Return [keystone_authtoken]: how an API has its callers' tokens checked."""
    return {
        **login(user),
        "www_authenticate_uri": f"{layout.url('keystone')}/v3",
        "service_token_roles": "service",
        "service_token_roles_required": True,
        "interface": "internal",
    }


def keystone() -> Settings:
    """Fernet tokens; cheap password hashes and a cache, for the lab has two cores."""
    keys = layout.STATE / "keystone"
    return {
        "database": {"connection": database("keystone")},
        "token": {"provider": "fernet", "expiration": 86400},
        "fernet_tokens": {"key_repository": keys / "fernet"},
        "fernet_receipts": {"key_repository": keys / "fernet"},
        "credential": {"key_repository": keys / "credential"},
        "identity": {"password_hash_rounds": 4},
        "cache": {"enabled": True, "backend": "dogpile.cache.memory"},
    }


def placement() -> Settings:
    """Placement as it comes."""
    return {
        "placement_database": {"connection": database("placement")},
        "keystone_authtoken": token_check("placement"),
    }


def glance() -> Settings:
    """Images as files."""
    data = layout.STATE / "glance"
    return {
        "DEFAULT": {"enabled_backends": "fs:file", "enabled_import_methods": "[]"},
        "paste_deploy": {
            "flavor": "keystone",
            "config_file": layout.VENV_BIN.parent / "etc/glance/glance-api-paste.ini",
        },
        "database": {"connection": database("glance")},
        "glance_store": {"default_backend": "fs"},
        "fs": {"filesystem_store_datadir": data / "images"},
        "os_glance_staging_store": {"filesystem_store_datadir": data / "staging"},
        "os_glance_tasks_store": {"filesystem_store_datadir": data / "tasks"},
        "keystone_authtoken": token_check("glance"),
        "oslo_messaging_notifications": {"driver": "noop"},
    }


def neutron() -> Settings:
    """An API without agents: the lab's servers have no port (networks: none)."""
    state = layout.STATE / "neutron"
    return {
        "DEFAULT": {
            "core_plugin": "ml2",
            "service_plugins": "router,port_forwarding",
            "transport_url": transport(),
            "state_path": state,
            "api_paste_config": layout.VENV_BIN.parent / "etc/neutron/api-paste.ini",
            "auth_strategy": "keystone",
            "notify_nova_on_port_status_changes": False,
            "notify_nova_on_port_data_changes": False,
        },
        "database": {"connection": database("neutron")},
        "keystone_authtoken": token_check("neutron"),
        "ml2": {
            "type_drivers": "local,flat",
            "tenant_network_types": "local",
            "mechanism_drivers": "",
            "extension_drivers": "",
        },
        "oslo_concurrency": {"lock_path": state / "lock"},
        "oslo_messaging_notifications": {"driver": "noop"},
    }


def nova() -> Settings:
    """What the controller's services and every nova-compute share: no database in here."""
    state = layout.STATE / "nova"
    return {
        "DEFAULT": {
            "my_ip": layout.CONTROLLER,
            "host": "controller",
            "transport_url": transport(),
            "state_path": state,
            "osapi_compute_workers": 1,
        },
        "api": {"auth_strategy": "keystone"},
        "conductor": {"workers": 1},
        "scheduler": {"workers": 1},
        "filter_scheduler": {
            "track_instance_changes": False,
            "enabled_filters": ",".join(SCHEDULER_FILTERS),
        },
        "quota": dict.fromkeys(
            ("instances", "cores", "ram", "server_groups", "server_group_members"), -1
        ),
        "placement": login("placement"),
        "neutron": login("neutron"),
        "glance": login("glance"),
        "service_user": {**login("nova"), "send_service_user_token": True},
        "keystone_authtoken": token_check("nova"),
        "oslo_concurrency": {"lock_path": state / "lock"},
        "oslo_messaging_notifications": {"driver": "noop"},
        "vnc": {"enabled": False},
        "image_cache": {"manager_interval": -1},
    }


def nova_controller() -> Settings:
    """The part of Nova that a compute host must not have."""
    return {
        "database": {"connection": database("nova_cell1")},
        "api_database": {"connection": database("nova_api")},
    }


def gnocchi() -> Settings:
    """Measures in Redis, processed as they come (greedy works on Redis only)."""
    return {
        "DEFAULT": {"coordination_url": redis("coordination"), "parallel_operations": 2},
        "api": {
            "auth_mode": "keystone",
            "paste_config": layout.ETC / "gnocchi/api-paste.ini",
        },
        "indexer": {"url": database("gnocchi")},
        "storage": {"driver": "redis", "redis_url": redis("storage")},
        "incoming": {"driver": "redis", "redis_url": redis("incoming")},
        "metricd": {
            "workers": 1,
            "metric_processing_delay": 1,
            "metric_reporting_delay": 30,
            "greedy": True,
        },
        "keystone_authtoken": token_check("gnocchi"),
    }


def aodh() -> Settings:
    """Rules looked at every 2 s; no coordination, which silences all when it is down."""
    return {
        "DEFAULT": {
            "transport_url": transport(),
            "record_history": False,
            "default_log_levels": "oslo_db.sqlalchemy.utils=ERROR",  # else a warning a cycle
        },
        "api": {"auth_mode": "keystone", "paste_config": layout.ETC / "aodh/api-paste.ini"},
        "database": {"connection": database("aodh")},
        "evaluator": {"evaluation_interval": 2, "workers": 1},
        "notifier": {"workers": 1},
        "oslo_messaging_notifications": {"retry": 1},
        "oslo_messaging_rabbit": {"heartbeat_timeout_threshold": 6},
        "keystone_authtoken": token_check("aodh"),
        "service_credentials": {**login("aodh"), "interface": "internal", "timeout": 3},
    }


def ceilometer_notification() -> Settings:
    """The listener that puts samples into Gnocchi, one by one as they arrive."""
    where = layout.ETC / "ceilometer"
    return {
        "DEFAULT": {
            "transport_url": transport(),
            "pipeline_cfg_file": where / "telemetry/pipeline.yaml",
        },
        "notification": {"workers": 1, "batch_size": 1, "pipelines": "meter"},
        "oslo_messaging_rabbit": {"heartbeat_timeout_threshold": 6},
        "service_credentials": {**login("ceilometer"), "interface": "internal", "timeout": 5},
    }


#: File below ETC -> what stands in it.
FILES: dict[str, Callable[[], Settings]] = {
    "keystone/keystone.conf": keystone,
    "placement/placement.conf": placement,
    "glance/glance-api.conf": glance,
    "neutron/neutron.conf": neutron,
    "nova/nova.conf": nova,
    "nova/controller.conf": nova_controller,
    "gnocchi/gnocchi.conf": gnocchi,
    "aodh/aodh.conf": aodh,
    "ceilometer/notification.conf": ceilometer_notification,
}
