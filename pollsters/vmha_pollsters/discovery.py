# SPDX-License-Identifier: Apache-2.0
"""Ceilometer discovery `vmha_agent`: the agent of this host, by its socket."""

from __future__ import annotations

from typing import Any

from ceilometer.polling import plugin_base

from vmha_pollsters.conf import POLLSTER_GROUP, POLLSTER_OPTS


class AgentDiscovery(plugin_base.DiscoveryBase):
    """Finds one resource: the path of the local agent's socket."""

    def __init__(self, conf: Any) -> None:
        super().__init__(conf)
        conf.register_opts(POLLSTER_OPTS, group=POLLSTER_GROUP)

    def discover(self, manager: Any, param: str | None = None) -> list[str]:
        """Return the socket path; whether anybody answers there is the pollster's business."""
        return [param or self.conf[POLLSTER_GROUP].agent_socket]

    @property
    def group_id(self) -> None:
        """Return None: every host polls its own agent, nothing is shared out."""
        return None
