"""`python -m bench.quality`: what is served, beside its experts, batch models and non-linear ones.

Our own machines ask, serve and learn in one pass; everybody else gets the same questions with the same delay.
All are judged by the same questions: those asked two horizons after the first order or later; of the
four-weekly decisions on CDNOW those asked when the first had been answered. Intervals come from drawing
customers again, not rows: rows of one customer repeat one another.

Online Retail and Complete Journey are not part of the project: `--data` names a folder that has
`online_retail_y1_2009-12_2010-11.csv.gz` and `completejourney_baskets.csv.gz` (`bench/quality/shops.py` says
which columns are read). Without it they are left out. The bench extra (`pip install ".[bench]"`) is needed.

What was measured of a shop is kept in the folder that `--results` names, so shops can be run one at a time;
`--page` then writes the tables of all that are there between the markers of docs/quality.md.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from time import perf_counter

import numpy as np

from bench.quality import asking, candidates, peers, tables
from bench.quality.figures import auc_interval, figures, loss_interval
from bench.quality.shops import SHOPS, Shop

NAMES = [shop.name for shop in SHOPS]


def measured(shop: Shop, folder: Path | None, try_candidates: bool) -> tables.Measured:
    started = perf_counter()

    def progress(what: str, about: str) -> None:
        print(f"  {perf_counter() - started:5.0f} s  {shop.name}, {what}: {about}", flush=True)

    ask = asking.decisions if shop.protocol else asking.natural
    asked = ask(shop.messages(folder), shop.horizon_days, partial(progress, "served"))
    judged = asked.judged
    label, customer = asked.label[judged], np.unique(asked.customer[judged], return_inverse=True)[1]
    served = asked.risk[judged]

    def row(name: str, answered: peers.Answered, weight: float | None = None) -> tables.Row:
        risk = answered.risk[judged]
        return tables.Row(
            name=name,
            figures=figures(risk, label),
            cost_us=answered.cost_us,
            loss_less=loss_interval(served, risk, label, customer),
            auc_less=auc_interval(served, risk, label, customer),
            weight=weight,
        )

    batch = [
        row(name, peers.retrained(asked, make, partial(progress, name))) for name, make in peers.BATCH.items()
    ]
    tried = []
    for name, candidate in candidates.CANDIDATES.items() if try_candidates else ():
        answered = candidates.answered(asked, candidate, partial(progress, name))
        weight = candidates.weight_beside(served, answered.risk[judged], label)
        tried.append(row(name, answered, weight))
    experts = [
        tables.Row(name=name, figures=figures(_risk(log_odds[judged]), label))
        for name, log_odds in asked.experts.items()
    ]
    return tables.Measured(
        name=shop.name,
        title=shop.title,
        horizon_days=shop.horizon_days,
        questions=len(asked.label),
        judged=int(judged.sum()),
        customers=int(customer.max()) + 1,
        churn_rate=float(label.mean()),
        served=tables.Row(name="served", figures=figures(served, label), cost_us=asked.learning_us),
        fitting_us=asked.fitting_us,
        batch=batch,
        experts=experts,
        candidates=tried,
        champion=asked.learner.pool.champion(),
    )


def _risk(log_odds: asking.Floats) -> asking.Floats:
    risk: asking.Floats = np.clip(1.0 / (1.0 + np.exp(-log_odds)), 0.001, 0.999)
    return risk


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.quality",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--shops", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--data", type=Path, help="a folder with the shops that are not part of the project")
    parser.add_argument("--candidates", action="store_true", help="try the non-linear experts too (slow)")
    parser.add_argument(
        "--results", type=Path, default=Path("quality-results"), help="keeps what was measured"
    )
    parser.add_argument("--page", type=Path, help="a page whose tables to write, docs/quality.md")
    parser.add_argument("--only-page", action="store_true", help="measure nothing, write the page")
    arguments = parser.parse_args()
    for shop in SHOPS if not arguments.only_page else ():
        if shop.name not in arguments.shops:
            continue
        if shop.outside and arguments.data is None:
            print(f"  {shop.name} is left out: it needs --data")
            continue
        tables.keep(measured(shop, arguments.data, arguments.candidates), arguments.results)
        print(tables.tables(tables.kept(arguments.results, [shop.name])))
    if arguments.page:
        tables.write(tables.tables(tables.kept(arguments.results, NAMES)), arguments.page)


if __name__ == "__main__":
    main()
