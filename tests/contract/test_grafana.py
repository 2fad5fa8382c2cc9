# SPDX-License-Identifier: Apache-2.0
"""The dashboard against Grafana's own model of one.

No registry that the tests may use has Grafana itself. Its makers publish the model, generated
from Grafana's schema, as a library: what that does not know is lost when a dashboard goes
through it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

FILE = Path(__file__).parents[2] / "etc/grafana/vmha.json"


def through_grafanas_model(dashboard: Any) -> Any:
    plugins.register_default_plugins()  # else it keeps what it does not know of panels and queries
    return json.loads(JSONEncoder().encode(Dashboard.from_json(dashboard)))


def lost(before: Any, after: Any, at: str = "") -> Iterator[str]:
    """Yield the places of all that is not the same afterwards."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            if key not in after:
                yield f"{at}/{key}"
            else:
                yield from lost(value, after[key], f"{at}/{key}")
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for n, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from lost(one, other, f"{at}/{n}")
    elif before != after:
        yield at


@pytest.fixture
def dashboard() -> Any:
    return json.loads(FILE.read_text())


def test_grafanas_model_knows_all_of_it(dashboard: Any) -> None:
    assert list(lost(dashboard, through_grafanas_model(dashboard))) == []


@pytest.mark.parametrize(
    ("at", "key"),
    [
        ((), "pannels"),
        (("panels", 0), "tittle"),
        (("panels", 0, "gridPos"), "width"),
        (("panels", 0, "fieldConfig", "defaults"), "units"),
        (("panels", 0, "targets", 0), "expression"),
        (("templating", "list", 0), "queries"),
    ],
)
def test_a_typo_would_be_found(dashboard: Any, at: tuple[str | int, ...], key: str) -> None:
    place = dashboard
    for step in at:
        place = place[step]
    place[key] = "x"
    found = list(lost(dashboard, through_grafanas_model(dashboard)))
    assert found == ["/" + "/".join(map(str, (*at, key)))]


def test_panels_do_not_lie_upon_each_other(dashboard: Any) -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert (x, y) not in taken, f"{panel['title']} lies upon {taken[x, y]}"
                taken[x, y] = panel["title"]
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def test_every_panel_asks_the_data_source_that_is_chosen(dashboard: Any) -> None:
    (choice,) = dashboard["templating"]["list"]
    assert (choice["type"], choice["query"]) == ("datasource", "prometheus")
    wanted = {"type": "prometheus", "uid": f"${{{choice['name']}}}"}
    for panel in dashboard["panels"]:
        assert panel["datasource"] == wanted
        assert all(target["datasource"] == wanted for target in panel["targets"])
