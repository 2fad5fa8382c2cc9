# SPDX-License-Identifier: Apache-2.0
"""Host aggregates: the hosts to which a VM's flavor, image and project may restrict it.

What an aggregate's metadata means depends on filters of Nova's scheduler that are off by default
and that its API does not show. So an objection is a possible one: where a VM finds room without
meeting any, it finds it whatever is configured; where it does not, nobody can say from outside.
Availability zones are aggregates, too. In which one a host is, its service says; whether a VM has
to stay there is told here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from vmha_remediator.remedy.facts import Aggregate, Server

#: What the aggregates of one host say together: their values are united, as Nova does it.
Labels = Mapping[str, frozenset[str]]

#: AggregateInstanceExtraSpecsFilter: the flavor names metadata that an aggregate must have. Its
#: extra specs without a scope are not looked at: they may be meant for something else.
ASKED = "aggregate_instance_extra_specs:"
#: AggregateMultiTenancyIsolation and [scheduler] limit_tenants_to_placement_aggregate.
_TENANT = "filter_tenant_id"
#: [scheduler] enable_isolated_aggregate_filtering: for those alone that ask for the trait.
_TRAIT, _REQUIRED = "trait:", "required"
_OR, _EQUAL = "<or>", "s=="
#: Other words with which Nova's scheduler can compare (nova.scheduler.filters.extra_specs_ops).
_COMPARING = frozenset(
    {"=", "<in>", "<all-in>", "==", "!=", ">=", "<=", "s!=", "s<", "s<=", "s>", "s>="}
)
_ZONE = "availability_zone"


class Aggregates:
    """What a cloud's aggregates say about its hosts."""

    def __init__(self, known: Iterable[Aggregate] = ()) -> None:
        self._known = tuple(known)
        self._labels: dict[str, dict[str, frozenset[str]]] = {}
        for aggregate in self._known:
            for host in aggregate.hosts:
                labels = self._labels.setdefault(host, {})
                for key, text in aggregate.metadata.items():
                    if key != _ZONE:
                        values = frozenset(value.strip() for value in text.split(","))
                        labels[key] = labels.get(key, frozenset()) | values
        self._owners = frozenset(
            owner for labels in self._labels.values() for owner in _owners(labels)
        )

    def zone(self, server: Server) -> str | None:
        """Return the availability zone that Nova keeps a VM in, None: it may go anywhere.

        A zone after which no aggregate is called binds nobody
        (`nova.scheduler.request_filter.map_az_to_placement_aggregate`): so is the default one, for
        which a VM has asked that was booted with "nova:HOST".
        """
        return server.zone if server.zone_guessed or self.of_zone(server.zone) else None

    def of_zone(self, zone: str | None) -> tuple[str, ...]:
        """Return the names of the aggregates that make a zone."""
        return tuple(a.name for a in self._known if zone and a.metadata.get(_ZONE) == zone)

    def objections(self, server: Server, hosts: Iterable[str]) -> dict[str, str]:
        """Return each host that Nova may refuse to a VM, and what the VM would need instead."""
        if not any(self._labels.values()) and not _asked(server):
            return {}
        found = {host: self._objection(server, self._labels.get(host, {})) for host in hosts}
        return {host: why for host, why in found.items() if why}

    def _objection(self, server: Server, labels: Labels) -> str:
        if server.project in self._owners and server.project not in _owners(labels):
            return "in an aggregate of its own project"
        return next((why for rule in _RULES if (why := rule(server, labels))), "")


def doubt(server: Server) -> str:
    """Return what a VM asks of aggregates that is not looked into here, or nothing."""
    words = (text.split()[:1] for text in _asked(server).values())
    odd = any(word and word[0] in _COMPARING for word in words)
    return "a comparison with an aggregate's metadata" if odd else ""


def _asked(server: Server) -> dict[str, str]:
    specs = server.extra_specs.items()
    return {key.removeprefix(ASKED): text for key, text in specs if key.startswith(ASKED)}


def _of_flavor(server: Server, labels: Labels) -> str:
    for key, text in sorted(_asked(server).items()):
        if not _matches(text, labels.get(key, frozenset())):
            return f"in an aggregate with {key}={text}"
    return ""


def _matches(text: str, values: frozenset[str]) -> bool:
    words = text.split()
    if words and words[0] in _COMPARING:
        return bool(values)
    if words and words[0] in (_OR, _EQUAL):
        return bool(values & set(words[1::2]))
    return text in values


def _of_image(server: Server, labels: Labels) -> str:
    for key, values in sorted(labels.items()):
        own = server.image_properties.get(key)
        if own and own not in values:
            return f"in an aggregate for {key}={own}"
    return ""


def _of_others(server: Server, labels: Labels) -> str:
    owners = _owners(labels)
    return "outside other projects' aggregates" if owners and server.project not in owners else ""


def _isolated(server: Server, labels: Labels) -> str:
    for key, values in sorted(labels.items()):
        wanted = (server.extra_specs.get(key), server.image_properties.get(key))
        if key.startswith(_TRAIT) and _REQUIRED in values and _REQUIRED not in wanted:
            return f"outside aggregates for {key.removeprefix(_TRAIT)}"
    return ""


def _owners(labels: Labels) -> frozenset[str]:
    """Return the projects for which the aggregates of a host are kept; none: for everybody."""
    values = (found for key, found in labels.items() if key.startswith(_TENANT))
    return frozenset().union(*values)


_RULES: tuple[Callable[[Server, Labels], str], ...] = (
    _of_flavor,
    _of_image,
    _of_others,
    _isolated,
)
