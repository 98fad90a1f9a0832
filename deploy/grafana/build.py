"""Grafana's JSON from the compact description: `python -m deploy.grafana.build` writes it, a test compares.

Grafana keeps a page of settings for each panel of which nearly all are the same. What differs stands in
`deploy.grafana.panels`; what does not stands here, once. Six small panels make a row, then three large ones.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from deploy.grafana.panels import DASHBOARDS, Dashboard, Panel

FOLDER = Path(__file__).parent / "dashboards"

_SOURCE = {"type": "prometheus", "uid": "prometheus"}
_COLUMNS = 24
_SIZES = {"stat": (4, 4)}
_LARGE = (8, 8)


def dashboard_json(dashboard: Dashboard) -> dict[str, Any]:
    """Make what Grafana loads.

    Examples
    --------
    >>> dashboard_json(DASHBOARDS[0])["uid"]
    'holdfast-operations'
    """
    panels: list[dict[str, Any]] = []
    x = y = height = 0
    for number, panel in enumerate(dashboard.panels, start=1):
        w, h = _SIZES.get(panel.kind, _LARGE)
        if x + w > _COLUMNS or (height and h != height):
            x, y, height = 0, y + height, 0
        panels.append(_panel(number, panel, {"x": x, "y": y, "w": w, "h": h}))
        x, height = x + w, h
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.about,
        "tags": ["holdfast"],
        "schemaVersion": 39,
        "version": 1,
        "editable": False,
        "timezone": "browser",
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": []},
        "annotations": {"list": []},
        "links": [
            {
                "type": "dashboards",
                "tags": ["holdfast"],
                "title": "Holdfast",
                "asDropdown": True,
                "keepTime": True,
            }
        ],
        "panels": panels,
    }


def _panel(number: int, panel: Panel, place: dict[str, int]) -> dict[str, Any]:
    lines = panel.kind in ("timeseries", "stacked")
    defaults: dict[str, Any] = {"unit": panel.unit, "min": 0}
    if panel.unit == "none":
        defaults["decimals"] = 3
        del defaults["min"]  # measures of quality differ in the second decimal
    if lines:
        defaults["custom"] = {
            "lineWidth": 1,
            "fillOpacity": 60 if panel.kind == "stacked" else 5,
            "stacking": {"mode": "normal" if panel.kind == "stacked" else "none"},
            "showPoints": "never",
        }
    reduce = {"calcs": ["lastNotNull"], "fields": "", "values": False}
    options: dict[str, Any] = {"reduceOptions": reduce, "orientation": "auto"}
    if panel.kind == "bargauge":
        options |= {"displayMode": "basic", "orientation": "horizontal"}
    if lines:
        options = {
            "legend": {"displayMode": "list", "placement": "bottom"},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
    return {
        "id": number,
        "title": panel.title,
        "description": panel.about,
        "type": "timeseries" if lines else panel.kind,
        "datasource": _SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
        "targets": [
            {
                "refId": chr(ord("A") + place_in_panel),
                "datasource": _SOURCE,
                "expr": expr,
                "legendFormat": legend,
                "instant": not lines,
                "range": lines,
            }
            for place_in_panel, (expr, legend) in enumerate(panel.queries)
        ],
    }


def rendered(dashboard: Dashboard) -> str:
    """Give the text of a dashboard's file."""
    return json.dumps(dashboard_json(dashboard), indent=1, ensure_ascii=False) + "\n"


def file_of(dashboard: Dashboard) -> Path:
    """Say where a dashboard's file is."""
    return FOLDER / f"{dashboard.uid.removeprefix('holdfast-')}.json"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for each in DASHBOARDS:
        file_of(each).write_text(rendered(each), encoding="utf-8")
