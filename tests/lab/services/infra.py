# SPDX-License-Identifier: Apache-2.0
"""MariaDB, RabbitMQ and Redis, each with its own data folder and only on the lab's bridge."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import amqp
import redis

from tests.lab import layout, process, settings
from tests.lab.credentials import passwords, write_private
from tests.lab.errors import LabError
from tests.lab.services.base import Service, tcp_ready

SOCKET = layout.STATE / "mariadb.sock"
DATA = layout.STATE / "mariadb"
RABBIT = layout.STATE / "rabbitmq"

#: Speed over durability of this machine's own crash; everything else behaves as usual.
MARIADB_CNF = """\
[mariadbd]
user = root
datadir = {data}
socket = {socket}
pid-file = {data}/mariadb.pid
bind-address = {address}
port = {port}
skip-name-resolve
max-connections = 600
table-open-cache = 1000
performance-schema = OFF
innodb-buffer-pool-size = 192M
innodb-log-file-size = 24M
innodb-flush-log-at-trx-commit = 0
innodb-flush-method = nosync
innodb-doublewrite = 0
"""

RABBIT_CONF = """\
listeners.tcp.1 = {address}:{port}
default_user = lab
default_pass = {password}
default_user_tags.administrator = true
loopback_users = none
vm_memory_high_watermark.absolute = 1GB
disk_free_limit.absolute = 50MB
log.console = true
log.console.level = warning
log.file = false
"""

REDIS_CONF = """\
bind {address}
port {port}
requirepass {password}
dir {data}
daemonize no
save ""
appendonly yes
appendfsync everysec
"""


def _mariadb_config() -> Path:
    text = MARIADB_CNF.format(
        data=DATA, socket=SOCKET, address=layout.CONTROLLER, port=layout.PORTS["mariadb"]
    )
    return write_private(layout.ETC / "mariadb.cnf", text)


def _prepare_mariadb() -> None:
    config = _mariadb_config()
    if DATA.exists():
        return
    half = DATA.with_name("mariadb-new")
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir(parents=True)
    done = subprocess.run(
        ["mariadb-install-db", f"--defaults-file={config}", "--user=root", f"--datadir={half}",
         "--auth-root-authentication-method=socket", "--skip-test-db"],
        capture_output=True, text=True, timeout=120, env=process.environment(),
    )  # fmt: skip
    if done.returncode != 0:
        raise LabError(f"mariadb-install-db: {done.stderr.strip()[-400:]}")
    half.rename(DATA)


def sql(text: str) -> str:
    """Run SQL as the database's root over its socket (nothing secret on a command line)."""
    done = subprocess.run(
        ["mariadb", "--no-defaults", f"--socket={SOCKET}", "--user=root", "-N", "-B"],
        input=text, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    if done.returncode != 0:
        raise LabError(f"MariaDB: {done.stderr.strip()}")
    return done.stdout


def _mariadb_ready() -> bool:
    return SOCKET.exists() and sql("SELECT 1;").strip() == "1"


def _rabbit_config() -> None:
    RABBIT.mkdir(parents=True, exist_ok=True)
    text = RABBIT_CONF.format(
        address=layout.CONTROLLER,
        port=layout.PORTS["rabbitmq"],
        password=passwords()["rabbitmq"],
    )
    write_private(layout.ETC / "rabbitmq/rabbitmq.conf", text)
    write_private(layout.ETC / "rabbitmq/enabled_plugins", "[].\n")


def rabbit_env() -> Mapping[str, str]:
    """Return the environment that makes RabbitMQ's own commands use the lab's broker."""
    where = layout.ETC / "rabbitmq"
    interface = layout.CONTROLLER.replace(".", ",")
    return {
        "HOME": str(RABBIT),  # the Erlang cookie is made here
        "ERL_EPMD_ADDRESS": layout.CONTROLLER,
        "ERL_EPMD_PORT": str(layout.PORTS["epmd"]),
        "RABBITMQ_USE_LONGNAME": "true",
        "RABBITMQ_NODENAME": f"vmha-lab@{layout.CONTROLLER}",
        "RABBITMQ_DIST_PORT": str(layout.PORTS["rabbitmq-dist"]),
        "RABBITMQ_CONF_ENV_FILE": str(where / "none"),
        "RABBITMQ_CONFIG_FILE": str(where / "rabbitmq.conf"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(where / "none"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(where / "enabled_plugins"),
        "RABBITMQ_MNESIA_BASE": str(RABBIT),
        "RABBITMQ_LOG_BASE": str(RABBIT),
        "RABBITMQ_LOGS": "-",
        # One scheduler that does not spin: Erlang else burns a core while it idles.
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
            f"-kernel inet_dist_use_interface {{{interface}}} "
            "+S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none"
        ),
    }


def _rabbit_ready() -> bool:
    with amqp.Connection(**_amqp_login(), connect_timeout=3) as connection:
        return bool(connection.connected)


def queue_has_consumer(queue: str) -> bool:
    """Return whether somebody listens on `queue` in RabbitMQ."""
    try:
        with amqp.Connection(**_amqp_login(), connect_timeout=3) as connection:
            answer = connection.channel().queue_declare(queue, passive=True)
            return bool(answer.consumer_count > 0)
    except amqp.exceptions.NotFound:
        return False


def _amqp_login() -> dict[str, str]:
    where = f"{layout.CONTROLLER}:{layout.PORTS['rabbitmq']}"
    return {"host": where, "userid": "lab", "password": passwords()["rabbitmq"]}


def _redis_config() -> None:
    data = layout.STATE / "redis"
    data.mkdir(parents=True, exist_ok=True)
    text = REDIS_CONF.format(
        address=layout.CONTROLLER,
        port=layout.PORTS["redis"],
        password=passwords()["redis"],
        data=data,
    )
    write_private(layout.ETC / "redis.conf", text)


def redis_client(use: str = "storage") -> redis.Redis:
    """Return a client of one logical database of the lab's Redis."""
    return redis.Redis(
        host=layout.CONTROLLER,
        port=layout.PORTS["redis"],
        password=passwords()["redis"],
        db=settings.REDIS_DB[use],
        socket_timeout=3,
    )


def _redis_ready() -> bool:
    try:
        return bool(redis_client().ping())
    except redis.RedisError:
        return False


SERVICES = (
    Service(
        name="mariadb",
        argv=lambda: ["mariadbd", f"--defaults-file={layout.ETC / 'mariadb.cnf'}"],
        ready=_mariadb_ready,
        ports=("mariadb",),
        prepare=_prepare_mariadb,
        stop_timeout=30,
    ),
    Service(
        name="epmd",
        argv=lambda: ["epmd"],
        env=rabbit_env,
        ready=tcp_ready("epmd"),
        ports=("epmd",),
    ),
    Service(
        name="rabbitmq",
        argv=lambda: ["/usr/lib/rabbitmq/bin/rabbitmq-server"],
        env=rabbit_env,
        ready=_rabbit_ready,
        needs=("epmd",),
        ports=("rabbitmq", "rabbitmq-dist"),
        prepare=_rabbit_config,
        stop_timeout=30,
    ),
    Service(
        name="redis",
        argv=lambda: ["redis-server", str(layout.ETC / "redis.conf")],
        ready=_redis_ready,
        ports=("redis",),
        prepare=_redis_config,
    ),
)
