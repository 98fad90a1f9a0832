"""`report.html`: a replay's report as one page that needs nothing else.

All plots are SVG inside the page; there is no script and nothing is fetched. It follows the reader's light or
dark setting and prints in black on white. What each figure means stands in `docs/evaluation.md`.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Any

from agents.plots import Axis, Canvas, Size, axis, dates, drawn, legend, matrix
from agents.variants import BASE
from agents.wording import name_in_words
from streams.evaluation.migration import NAMES

_STYLE = """
:root{color-scheme:light dark;--paper:#fff;--ink:#1c2024;--soft:#60646c;--grid:#e3e5e9;--main:#1f6feb;
--other:#c2570c}
@media (prefers-color-scheme:dark){:root{--paper:#15181c;--ink:#e8eaed;--soft:#a5abb5;--grid:#31363d;
--main:#6ea8ff;--other:#ff9f5a}}
@media print{:root{color-scheme:light;--paper:#fff;--ink:#000;--soft:#444;--grid:#ddd;--main:#0b4fb3;
--other:#a04000}body{margin:0!important;max-width:none!important}section,figure,tr{break-inside:avoid}}
*{box-sizing:border-box}body{margin:2rem auto;padding:0 1rem;max-width:1360px;background:var(--paper);
color:var(--ink);font:15px/1.5 system-ui,sans-serif}h1{font-size:1.6rem;margin:0 0 .2rem}
h2{font-size:1.15rem;margin:2rem 0 .5rem}p{margin:.3rem 0}.soft,figcaption{color:var(--soft)}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,560px),1fr));gap:1.5rem}
figure{margin:0;min-width:0}section>figure{margin:1rem 0}figure h3{font-size:1rem;margin:0 0 .2rem}
svg{width:100%;height:auto;display:block}
svg text{font:12px system-ui,sans-serif;fill:var(--soft)}svg .title{fill:var(--ink)}
svg .value{fill:var(--ink);paint-order:stroke;stroke:var(--paper);stroke-width:3px}
svg.narrow{display:none}
.grid{stroke:var(--grid);fill:none}.axis{stroke:var(--soft);fill:none}.bar{fill:var(--main)}
.line{fill:none;stroke-width:2}.line.main{stroke:var(--main)}.line.other{stroke:var(--other);
stroke-dasharray:5 4}.dot.main{fill:var(--main)}.legend{font-size:.85rem;margin:0}
.key{margin-right:1rem;white-space:nowrap}.key::before{content:"";display:inline-block;width:1.2em;
border-top:2px solid var(--main);margin-right:.4em;vertical-align:.25em}
.key.other::before{border-top:2px dashed
var(--other)}.wide{overflow-x:auto}table{border-collapse:collapse;font-size:.88rem}
th,td{padding:.25rem .6rem;text-align:right;border-bottom:1px solid var(--grid);font-weight:400}
th:first-child,td.text,th.text{text-align:left}thead th{color:var(--soft);vertical-align:bottom}
td small,th small{display:block;color:var(--soft);white-space:nowrap}.clear{font-weight:600}
.matrix td[style]{background:color-mix(in srgb,var(--main) calc(var(--share)*.6),transparent)}
.matrix thead span{writing-mode:vertical-rl;transform:rotate(180deg)}
.matrix td,.matrix th{padding:.2rem .45rem}
.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:.8rem;margin:1rem 0}
.facts div{border-top:2px solid var(--main);padding-top:.3rem}.facts b{display:block;font-size:1.35rem}
.when{white-space:nowrap}
@media (max-width:620px){svg.broad{display:none}svg.narrow{display:block}
.stack thead{display:none}.stack,.stack tbody{display:block}.stack tr{display:grid;
grid-template-columns:1fr 1fr;padding:.5rem 0;border-bottom:1px solid var(--grid)}
.stack th,.stack td{border:0;padding:.1rem 0;text-align:left}.stack th,.stack .text{grid-column:1/-1}
.stack th{font-weight:600}.stack td::before{content:attr(data-of) " ";color:var(--soft)}}
"""

FIGURES: dict[str, tuple[str, int, str]] = {
    "auc": ("AUC", 4, ""),
    "log_loss": ("log loss", 4, "nats"),
    "brier": ("Brier", 4, ""),
    "ece": ("calibration error", 4, ""),
    "top_decile_lift": ("lift, first tenth", 3, "×"),
    "lift_quality": ("lift quality", 3, ""),
    "precision": ("precision of alerts", 3, ""),
    "mean_lead_days": ("mean lead of right alerts", 1, "days"),
    "alerts_per_day": ("alerts a day", 2, ""),
    "money_found": ("money found", 0, "currency"),
}
"""The figures of a comparison: what they are called, decimals, unit."""


def page(content: dict[str, Any]) -> str:
    """Draw a report.

    Parameters
    ----------
    content
        As `agents.replay.replay_files` gives it.

    Returns
    -------
    str
        A whole HTML document.
    """
    evaluation = content["evaluation"]
    sections = "".join(
        (
            _head(content),
            _comparison(content["comparison"]) if "comparison" in content else "",
            '<section><h2>Risks and alerts</h2><div class="plots">',
            *_plots(evaluation),
            "</div></section>",
            _open(evaluation["open_alerts"]),
            _migration(evaluation["migration"]),
        )
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1"><title>Holdfast replay</title>'
        f"<style>{_STYLE}</style></head><body>{sections}</body></html>\n"
    )


def number(value: float | None, decimals: int) -> str:
    """Write a figure, a dash where it is not defined.

    Examples
    --------
    >>> number(1234.5, 0), number(None, 2)
    ('1,234', '–')
    """
    return "–" if value is None else f"{value:,.{decimals}f}"


def _head(content: dict[str, Any]) -> str:
    evaluation, reviews = content["evaluation"], content["settings"]["reviews"]
    quality, alerts = evaluation["quality"], evaluation["alerts"]
    span = (
        "no events"
        if not content["first_event"]
        else (f"{content['first_event'][:10]} to {content['last_event'][:10]}")
    )
    lead = alerts["lead_days"]["median"]
    facts = {
        "answers judged": f"{quality['n']:,}",
        "AUC": number(quality["auc"], 3),
        "log loss (nats)": number(quality["log_loss"], 3),
        "calibration error": number(quality["ece"], 3),
        "alerts a day": number(alerts["per_day"], 2),
        "precision of alerts": number(alerts["precision"], 2),
        "median lead (days)": number(lead, 0),
        "money found": number(alerts["money_found"], 0),
    }
    shown = "".join(f"<div><b>{value}</b>{title}</div>" for title, value in facts.items())
    return (
        f"<h1>Holdfast replay</h1><p class='soft'>{content['events']['read']:,} messages of {span}. "
        f"Churn is no order within {reviews['horizon_days']:g} days. "
        f"Judged: {escape(content['prequential']['over'])}. "
        f"Alerts: {alerts['right']:,} right, {alerts['wrong']:,} wrong, {alerts['open']:,} not known yet.</p>"
        f'<div class="facts">{shown}</div>'
    )


def _comparison(comparison: dict[str, Any]) -> str:
    head = "".join(f"<th>{_named(variant)}</th>" for variant in comparison["variants"])
    rows = []
    for name, (title, decimals, unit) in FIGURES.items():
        cells = "".join(_compared(variant, name, decimals) for variant in comparison["variants"])
        rows.append(f"<tr><th>{title}{f' ({unit})' if unit else ''}</th>{cells}</tr>")
    return (
        f"<section><h2>Variants</h2><div class='wide'><table><thead><tr><th>figure</th>{head}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div><p class='soft'>Small: for the base its 95 % interval, "
        f"for the others the difference from the base with its 95 % interval, bold where that excludes 0; "
        f"paired bootstrap over customers, {comparison['resamples']:,} resamples.</p></section>"
    )


def _named(variant: dict[str, Any]) -> str:
    lines = [f"{key} = {value}" for key, value in variant["changed"].items()] or ["settings in force"]
    if not variant["same_questions"]:
        lines.append("other horizon: other questions")
    small = "".join(f"<small>{escape(line)}</small>" for line in lines)
    return f"<span>{escape(variant['name'])}{small}</span>"


def _compared(variant: dict[str, Any], name: str, decimals: int) -> str:
    value, change = variant["figures"][name], variant["differences"][name]
    if variant["name"] == BASE:
        small = f"{number(value['low'], decimals)} to {number(value['high'], decimals)}"
        return f"<td>{number(value['value'], decimals)}<small>{small}</small></td>"
    low, high = change["low"], change["high"]
    clear = low is not None and (low > 0.0 or high < 0.0)
    moved, least, most = (_signed(figure, decimals) for figure in (change["value"], low, high))
    return (
        f"<td>{number(value['value'], decimals)}"
        f"<small{' class=clear' if clear else ''}>{moved} ({least} to {most})</small></td>"
    )


def _signed(value: float | None, decimals: int) -> str:
    return "–" if value is None else f"{value:+,.{decimals}f}"


def _figure(title: str, drawing: str, caption: str) -> str:
    return f"<figure><h3>{title}</h3>{drawing}<figcaption>{caption}</figcaption></figure>"


def _nothing(title: str) -> str:
    return _figure(title, "", "Nothing to show: none in this replay.")


def _plots(evaluation: dict[str, Any]) -> Iterator[str]:
    yield _reliability(evaluation["reliability"])
    yield _loss(evaluation["over_time"])
    yield _lift(evaluation["lift"])
    yield _alerts(evaluation["alerts"]["over_time"])
    yield _lead(evaluation["alerts"])


def _reliability(bins: list[dict[str, Any]]) -> str:
    title = "Reliability"
    points = [(bin_["risk"], bin_["churn_rate"]) for bin_ in bins if bin_["n"]]
    if not points:
        return _nothing(title)
    across, up = axis(0.0, 1.0, "risk served (mean of a bin)"), axis(0.0, 1.0, "share that left")

    def draw(size: Size) -> Canvas:
        canvas = Canvas(across, up, "Reliability curve", size)
        canvas.line([(0.0, 0.0), (1.0, 1.0)], "other")
        canvas.line(points, "main", dots=True)
        return canvas

    return _figure(
        title,
        legend({"main": "served risk, bins of 0.05", "other": "perfect"}) + drawn(draw),
        "Below the diagonal too many were called leavers, above it too few.",
    )


def _loss(periods: list[dict[str, Any]]) -> str:
    title = "Log loss over event time"
    if not periods:
        return _nothing(title)
    every = [period[name] for period in periods for name in ("log_loss", "log_loss_base")]
    up = axis(min(0.0, *every), max(every), "log loss (nats)")

    def draw(size: Size) -> Canvas:
        canvas = Canvas(_over_time(periods, "questions asked from", size), up, title, size)
        for name, kind in (("log_loss_base", "other"), ("log_loss", "main")):
            points = [(place + 0.5, period[name]) for place, period in enumerate(periods)]
            canvas.line(points, kind, dots=kind == "main")
        return canvas

    return _figure(
        title,
        legend({"main": "served", "other": "always the period's churn rate"}) + drawn(draw),
        f"Periods of {periods[0]['days']} days. Lower is better; where lines meet, the model adds nothing.",
    )


def _lift(deciles: list[dict[str, Any]]) -> str:
    title = "Lift by decile"
    if not deciles:
        return _nothing(title)
    ticks = tuple((float(place), str(place)) for place in range(1, len(deciles) + 1))
    high = max(1.0, *(decile["lift"] for decile in deciles))
    across = Axis(0.5, len(deciles) + 0.5, ticks, "tenth of the answers, the highest risk first")
    up = axis(0.0, high, "lift (×)")

    def draw(size: Size) -> Canvas:
        canvas = Canvas(across, up, title, size)
        for decile in deciles:
            place = decile["decile"]
            canvas.bar(place - 0.42, place + 0.42, decile["lift"], f"{decile['lift']:.2f} ×")
        canvas.line([(0.5, 1.0), (len(deciles) + 0.5, 1.0)], "other")
        for decile in deciles:  # over the line, which may run where a number stands
            at = canvas.across(decile["decile"]), canvas.down(decile["lift"]) - 4
            canvas.text(*at, f"{decile['lift']:.2f}", "middle", "value")
        return canvas

    return _figure(
        title,
        legend({"other": "chance"}) + drawn(draw),
        "Churn rate of a tenth over that of all. Where most leave, no lift can be large.",
    )


def _alerts(periods: list[dict[str, Any]]) -> str:
    title = "Alerts a day"
    if not periods:
        return _nothing(title)
    up = axis(0.0, max(p["per_day"] for p in periods), "alerts a day")

    def draw(size: Size) -> Canvas:
        canvas = Canvas(_over_time(periods, "raised from", size), up, title, size)
        for place, period in enumerate(periods):
            canvas.bar(place, place + 1, period["per_day"], f"{period['from']}: {period['raised']} raised")
        return canvas

    length = periods[0]["days"]
    over = "by day" if length == 1 else f"mean over {length} days"
    return _figure(title, drawn(draw), f"Episodes raised, {over} of event time.")


def _over_time(periods: list[dict[str, Any]], what: str, size: Size) -> Axis:
    return Axis(0.0, float(len(periods)), dates([p["from"] for p in periods], size.dates), what)


def _lead(alerts: dict[str, Any]) -> str:
    title = "Lead time of right alerts"
    bars = alerts["lead_histogram"]
    if not bars:
        return _nothing(title)
    across = axis(bars[0]["low"], bars[-1]["high"], "days before the silence came to one horizon")
    up = axis(0.0, max(bar["n"] for bar in bars), "alerts")

    def draw(size: Size) -> Canvas:
        canvas = Canvas(across, up, title, size)
        for bar in bars:
            low, high = bar["low"], bar["high"]
            canvas.bar(low, high, bar["n"], f"{low:g} to {high:g} days: {bar['n']}")
        return canvas

    spread = alerts["lead_days"]
    return _figure(
        title,
        drawn(draw),
        f"Median {number(spread['median'], 0)} days, one in ten under {number(spread['p10'], 0)}. "
        f"{alerts['too_late']:,} came too late (below 0).",
    )


def _open(alerts: list[dict[str, Any]]) -> str:
    if not alerts:
        return ""
    rows = "".join(
        f"<tr><th>{escape(alert['customer_id'])}</th><td class=when data-of=since>{alert['since']}</td>"
        f"<td data-of=risk>{alert['risk']:.2f}</td>"
        f"<td data-of='value at risk'>{alert['value_at_risk']:,.2f}</td>"
        f"<td class='text'>{escape('; '.join(alert['why']))}</td></tr>"
        for alert in alerts
    )
    return (
        "<section><h2>Open alerts with the most at risk</h2><div class='wide'><table class=stack><thead><tr>"
        "<th>customer</th><th>since</th><th>risk</th><th>value at risk (currency)</th>"
        "<th class='text'>why</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></div></section>"
    )


def _migration(migration: dict[str, dict[str, dict[str, int]]]) -> str:
    titles = {"rfm": "Moves between RFM segments", "lifecycle": "Moves between lifecycle stages"}
    parts = []
    for dimension, rows in migration.items():
        if rows:
            entered = {name for row in rows.values() for name in row}
            columns = [name for name in NAMES[dimension] if name in entered]
            parts.append(
                f"<figure><h3>{titles[dimension]}</h3>{matrix(rows, columns, name_in_words)}</figure>"
            )
    if not parts:
        return ""
    return (
        f"<section><h2>Segments</h2>{''.join(parts)}<p class='soft'>Number of moves; the shade is the share "
        "of the row.</p></section>"
    )
