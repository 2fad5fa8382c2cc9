# SPDX-License-Identifier: Apache-2.0
"""[api]: where the webhook receiver listens and how much it takes on."""

from __future__ import annotations

from oslo_config import cfg

GROUP = "api"

OPTS: list[cfg.Opt] = [
    cfg.HostAddressOpt(
        "host",
        default="127.0.0.1",
        help="Address to listen on. Wrong: start-up stops and says so. An address that the Aodh "
        "notifiers cannot reach: webhooks are lost and alarms are found by listing instead.",
    ),
    cfg.PortOpt(
        "port",
        default=8778,
        help="Port to listen on; the same as in [webhook] base_url, or as in the proxy's "
        "settings. Taken by another process: start-up stops and says so.",
    ),
    cfg.IntOpt(
        "threads",
        default=4,
        min=1,
        max=64,
        help="Requests of people and programs answered at once; each may take one database "
        "connection. Too few: the status page waits its turn. Webhooks need no thread.",
    ),
    cfg.IntOpt(
        "connection_limit",
        default=256,
        min=8,
        max=1024,
        help="Connections open at once; more wait in the kernel's queue. Too few: idle clients "
        "keep alarms out for up to the time-out.",
    ),
    cfg.IntOpt(
        "connection_timeout",
        default=10,
        min=1,
        max=120,
        help="Seconds after which a silent connection is closed. Too short: webhooks over a "
        "slow link are lost; the engine still finds the alarms by listing.",
    ),
    cfg.IntOpt(
        "max_body",
        default=65536,
        min=1024,
        max=1048576,
        help="Largest request body in bytes. An alarm's notification takes one to two "
        "kilobytes; a longer body is answered 413 and nothing is done.",
    ),
    cfg.StrOpt(
        "auth_strategy",
        default="keystone",
        choices=["keystone", "noauth"],
        help="Who may use the REST API and the status page. 'keystone': whoever has a token that "
        "[oslo_policy] lets in; tokens are checked with [keystone_authtoken], or with the "
        "account of [cloud] when that group has no auth_type. 'noauth': everybody who can reach "
        "it, as administrator; start-up refuses it unless host is a loopback address. Webhooks "
        "are checked by their signature in either case.",
    ),
    cfg.FloatOpt(
        "view_age",
        default=2.0,
        min=0.0,
        max=60.0,
        help="Seconds for which one look at Nova and Gnocchi serves all readers of hosts. Long: "
        "the page is behind by as much; 0: every request looks, and many open pages load Nova.",
    ),
    cfg.FloatOpt(
        "servers_age",
        default=20.0,
        min=0.0,
        max=3600.0,
        help="Seconds for which one list of all servers serves the protection report and the "
        "numbers of protected VMs. Long: a new tag shows late; short: Nova lists all servers "
        "that often while anybody looks.",
    ),
    cfg.FloatOpt(
        "capacity_age",
        default=30.0,
        min=1.0,
        max=3600.0,
        help="Seconds for which one reading of Placement (three requests a host) tells whether "
        "any one host can fail. Long: freed or taken room shows late; short: Placement is read "
        "that often while anybody looks.",
    ),
    cfg.ListOpt(
        "metrics_allow",
        default=["127.0.0.0/8", "::1/128"],
        help="Networks whose Prometheus may read /metrics without a token; it names hosts and "
        "verdicts, no VMs. Too few: the scrape is answered 403. Not a network: start-up stops.",
    ),
]
