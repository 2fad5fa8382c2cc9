# SPDX-License-Identifier: Apache-2.0
"""What both simulated Novas answer from their books, whatever moves what stands in these."""

from __future__ import annotations

from vmha_remediator.remedy.facts import Aggregate, Migration, Server


class NovaBooks:
    """The servers and the records of evacuations; a subclass says what a request goes through."""

    servers_by_id: dict[str, Server]
    records: list[Migration]
    stays_stopped: bool  # what it evacuates, as from microversion 2.95 on
    known_aggregates: tuple[Aggregate, ...] = ()

    def _request(self) -> None:
        """Refuse, delay or count a request."""
        raise NotImplementedError

    def servers(self, host: str) -> list[Server]:
        self._request()
        return [s for s in self.servers_by_id.values() if s.host == host]

    def server(self, server_id: str) -> Server | None:
        self._request()
        return self.servers_by_id.get(server_id)

    def changed_since(self, time: float) -> list[Server]:
        self._request()
        return list(self.servers_by_id.values())

    def aggregates(self) -> list[Aggregate]:
        if self.known_aggregates:  # a request that finds nothing would be in every log
            self._request()
        return list(self.known_aggregates)

    def leaves_stopped(self) -> bool:
        return self.stays_stopped

    def called(self, name: str) -> list[Server]:
        self._request()
        return [s for s in self.servers_by_id.values() if s.name == name]

    def evacuations(self, host: str) -> list[Migration]:
        self._request()
        return [record for record in self.records if record.source == host]

    def evacuations_to(self, host: str) -> list[Migration]:
        found = [record for record in self.records if record.dest == host]
        if found:  # a request that finds nothing would be in every log
            self._request()
        return found
