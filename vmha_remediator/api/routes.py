# SPDX-License-Identifier: Apache-2.0
"""The REST API in one table."""

from __future__ import annotations

from vmha_remediator.api import handlers, schemas
from vmha_remediator.api.route import Route

#: The largest number is what every supported database takes for one.
INCIDENT = "/v1/incidents/<int(max=2147483647):incident_id>"

ROUTES: tuple[Route, ...] = (
    Route("GET", "/v1/cluster", "cluster_get", "vmha:cluster:get",
          "What stands for the cluster as a whole", handlers.cluster, "Cluster"),
    Route("GET", "/v1/hosts", "hosts_list", "vmha:hosts:list",
          "Hosts with their evidence, verdicts and protected VMs", handlers.hosts, "Hosts"),
    Route("GET", "/v1/hosts/<host>", "hosts_get", "vmha:hosts:get",
          "One host", handlers.host, "HostAnswer", refusals=(404,)),
    Route("PUT", "/v1/hosts/<host>/maintenance", "hosts_set_maintenance",
          "vmha:hosts:maintenance", "Leave a host alone, whatever happens to it",
          handlers.set_maintenance, "HostAnswer", body=schemas.MAINTENANCE, refusals=(404,)),
    Route("DELETE", "/v1/hosts/<host>/maintenance", "hosts_end_maintenance",
          "vmha:hosts:maintenance", "Look after a host again",
          handlers.end_maintenance, "HostAnswer", refusals=(404,)),
    Route("POST", "/v1/hosts/<host>/recover", "hosts_recover", "vmha:hosts:recover",
          "Have the failure of a host go on now: released if it is held, pending VMs tried again",
          handlers.recover, "IncidentAnswer", refusals=(404, 409)),
    Route("POST", "/v1/hosts/<host>/confirm-fenced", "hosts_confirm_fenced",
          "vmha:hosts:confirm_fenced",
          "Confirm that a host is off: a person's word in place of a fencing device. The body "
          "repeats the host's name.",
          handlers.confirm_fenced, "IncidentAnswer", body=schemas.CONFIRM, refusals=(404, 409)),
    Route("POST", "/v1/hosts/<host>/release", "hosts_release", "vmha:hosts:release",
          "Let the held incident of a host go on",
          handlers.release_host, "IncidentAnswer", refusals=(404, 409)),
    Route("GET", "/v1/incidents", "incidents_list", "vmha:incidents:list",
          "Incidents, the latest first, a page at a time", handlers.incidents, "Incidents",
          query=schemas.INCIDENT_QUERY),
    Route("GET", INCIDENT, "incidents_get", "vmha:incidents:get",
          "One incident with its journal, proof, VMs and changes",
          handlers.incident, "IncidentAnswer", refusals=(404,)),
    Route("POST", f"{INCIDENT}/release", "incidents_release",
          "vmha:incidents:release",
          "Let a held incident go on, or close one that is only kept open",
          handlers.release, "IncidentAnswer", refusals=(404, 409)),
    Route("POST", f"{INCIDENT}/retry", "incidents_retry",
          "vmha:incidents:retry", "Try now what an incident would try again later",
          handlers.retry, "IncidentAnswer", refusals=(404, 409)),
    Route("POST", f"{INCIDENT}/cancel", "incidents_cancel",
          "vmha:incidents:cancel",
          "Close an incident before its host is fenced; the host is in maintenance from then on",
          handlers.cancel, "IncidentAnswer", body=schemas.REASON, refusals=(404, 409)),
    Route("GET", "/v1/alarms", "alarms_list", "vmha:alarms:list",
          "The alarms that watch the hosts", handlers.alarms, "Alarms"),
    Route("GET", "/v1/protection", "protection_list", "vmha:protection:list",
          "Which servers are protected, at what priority, and which cannot be and why",
          handlers.protection, "Protection", query=schemas.HOST_QUERY),
    Route("GET", "/v1/capacity", "capacity_get", "vmha:capacity:get",
          "Whether any one host can fail: whether its protected VMs have room on the others",
          handlers.foresee, "Capacity"),
)  # fmt: skip
