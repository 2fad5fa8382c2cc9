# SPDX-License-Identifier: Apache-2.0
"""Heat, when asked for: `python -m tests.lab service start heat`. Everything else does without.

Its database, catalogue entry and configuration are made at its first start.
"""

from __future__ import annotations

import secrets

from tests.lab import config, layout, process, settings
from tests.lab.credentials import passwords, write_private
from tests.lab.services import base, cloudapi, infra
from tests.lab.services.base import Service, http_ready
from tests.lab.services.databases import run_tool

NAME, ENGINE = "heat", "heat-engine"
USER = "heat"
CONFIG = layout.ETC / "heat/heat.conf"
_KEY = layout.ETC / "heat/auth.key"


def _settings() -> settings.Settings:
    """Return what Heat is told; stacks are made with trusts, so that alarms outlive a token."""
    login = settings.login(USER)
    return {
        "DEFAULT": {
            "transport_url": settings.transport(),
            "num_engine_workers": 1,
            "deferred_auth_method": "trusts",
            "region_name_for_services": settings.REGION,
            "auth_encryption_key": _KEY.read_text(),
        },
        "database": {"connection": settings.database("heat")},
        "paste_deploy": {"api_paste_config": layout.VENV_BIN.parent / "etc/heat/api-paste.ini"},
        "keystone_authtoken": settings.token_check(USER),
        "trustee": {key: value for key, value in login.items() if "project" not in key},
        "clients": {"endpoint_type": "internalURL"},
        "clients_keystone": {"auth_uri": layout.url("keystone")},
        "oslo_messaging_notifications": {"driver": "noop"},
    }


def _prepare() -> None:
    """Make what Heat needs, and start its engine; idempotent."""
    if not _KEY.exists():
        write_private(_KEY, secrets.token_hex(16))
    write_private(CONFIG, config.render(_settings()))
    infra.sql(
        "CREATE DATABASE IF NOT EXISTS heat CHARACTER SET utf8mb3; GRANT ALL ON heat.* TO lab@'%';"
    )
    run_tool(["heat-manage", f"--config-file={CONFIG}", "db_sync"])
    _register()
    base.start(_ENGINE)


def _register() -> None:
    """Put Heat's user and endpoints into Keystone."""
    cloud = cloudapi.connect().identity
    domain = cloud.find_domain("Default", ignore_missing=False).id
    project = cloud.find_project("service", domain_id=domain).id
    user = cloud.find_user(USER) or cloud.create_user(
        name=USER, domain_id=domain, password=passwords()[USER]
    )
    for role in cloud.roles():
        if role.name in ("admin", "service"):
            cloud.assign_project_role_to_user(project, user.id, role.id)
    if cloud.find_service(NAME) is None:
        service = cloud.create_service(name=NAME, type="orchestration")
        for interface in ("public", "internal", "admin"):
            cloud.create_endpoint(
                service_id=service.id,
                interface=interface,
                url=f"{layout.url(NAME)}/v1/%(tenant_id)s",
                region_id=settings.REGION,
            )
    for connection in (cloudapi.connect,):
        connection.cache_clear()  # their catalogues are from before


_ENGINE = Service(
    name=ENGINE,
    argv=lambda: [layout.VENV_BIN / "heat-engine", f"--config-file={CONFIG}"],
    ready=lambda: infra.queue_has_consumer("engine"),
    needs=("mariadb", "rabbitmq", "keystone"),
)
SERVICES = (
    Service(
        name=NAME,
        argv=lambda: [
            layout.VENV_BIN / "python",
            "-m",
            "tests.lab.services.wsgi_runner",
            NAME,
        ],
        ready=http_ready(NAME, "/"),
        needs=("mariadb", "rabbitmq", "keystone", "nova", "aodh"),
        ports=(NAME,),
        prepare=_prepare,
    ),
    _ENGINE,
)


def stop() -> None:
    """End both; their database stays."""
    for service in SERVICES:
        if process.alive(service.name):
            base.stop(service)
