"""The dashboards' files are those that the description makes, and what they ask for exists."""

from __future__ import annotations

import json
import re

import pytest
import yaml

from agents import metrics
from agents.documents import README
from deploy.grafana.build import FOLDER, dashboard_json, file_of, rendered
from deploy.grafana.panels import DASHBOARDS, Dashboard

ROOT = README.parent
RULES = [
    rule
    for path in sorted((ROOT / "deploy/prometheus/rules").glob("*.yml"))
    for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
]
UNITS = {"s", "short", "none", "percentunit", "Bps", "bytes"}
EVERY = pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda dashboard: str(dashboard.uid))


def known() -> set[str]:
    """Every name that a query may use."""
    names = {rule["record"] for rule in RULES if "record" in rule}
    for metric in metrics.all_metrics():
        (family,) = metric.describe()
        endings = {"counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"]}.get(family.type, [""])
        names |= {family.name + ending for ending in endings}
    return names


@EVERY
def test_the_file_is_current(dashboard: Dashboard) -> None:
    """Else: `python -m deploy.grafana.build`."""
    assert file_of(dashboard).read_text(encoding="utf-8") == rendered(dashboard)


def test_there_are_the_four_and_no_other() -> None:
    titles = {json.loads(path.read_text(encoding="utf-8"))["title"] for path in FOLDER.glob("*.json")}
    assert titles == {f"Holdfast: {name}" for name in ("Operations", "Customers", "Model", "Money")}


@EVERY
def test_every_panel_can_be_read(dashboard: Dashboard) -> None:
    titles = [panel.title for panel in dashboard.panels]
    assert len(set(titles)) == len(titles)
    for panel in dashboard.panels:
        assert panel.title[0].isupper()
        assert panel.about.endswith(".")
        assert panel.unit in UNITS
        assert all(legend for _, legend in panel.queries)


@EVERY
def test_panels_do_not_lie_on_each_other(dashboard: Dashboard) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard_json(dashboard)["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert all(0 <= x < 24 for x, _ in cells)
        assert not cells & taken
        taken |= cells


def test_every_query_asks_for_what_there_is() -> None:
    asked = [query for dashboard in DASHBOARDS for panel in dashboard.panels for query, _ in panel.queries]
    asked += [rule["expr"] for rule in RULES]
    names = {name for query in asked for name in re.findall(r"holdfast[a-z0-9_:]+", query)}
    assert len(names) > 40
    assert names <= known()


def test_every_metric_is_shown_somewhere_or_asked_for_by_a_rule() -> None:
    asked = " ".join(
        [query for dashboard in DASHBOARDS for panel in dashboard.panels for query, _ in panel.queries]
        + [rule["expr"] for rule in RULES]
    )
    unseen = []
    for metric in metrics.all_metrics():
        (family,) = metric.describe()
        if not re.search(rf"\b{family.name}(_total|_bucket)?\b", asked):
            unseen.append(family.name)
    assert unseen == []


def test_the_data_source_is_the_one_that_is_provisioned() -> None:
    file = ROOT / "deploy/grafana/provisioning/datasources/prometheus.yml"
    (source,) = yaml.safe_load(file.read_text(encoding="utf-8"))["datasources"]
    uids = {
        panel["datasource"]["uid"]
        for dashboard in DASHBOARDS
        for panel in dashboard_json(dashboard)["panels"]
    }
    assert uids == {source["uid"]}
