"""`python -m bench.faults`: run the scorecard; with numbers behind it, those rows alone.

A full run writes docs/scorecard.md; a partial one prints, and with `--keep` replaces its rows there. The exit
code is 0 when every row that was asked for passes, and every control fails as it must.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import signal
import sys
import time

from bench.faults import scorecard
from bench.faults.ground import Ground
from bench.faults.registry import ROWS, OutOfTimeError, Result, Row, run
from deploy.kafka.local import LIBRARY, KafkaStartError

MODULES = (
    "rows_load",
    "rows_crash",
    "rows_broker",
    "rows_state",
    "rows_offline",
    "rows_input",
    "rows_failure",
    "rows_security",
    "controls",
)
SEED = 20_261


def ring(seconds: float) -> None:
    """Raise `OutOfTimeError` in the main thread after so many seconds."""
    signal.setitimer(signal.ITIMER_REAL, seconds)


def _out_of_time(_number: int, _frame: object) -> None:
    raise OutOfTimeError("the row took longer than it may")


def _leave(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def rows(labels: list[str]) -> list[Row]:
    """Choose rows by number; `control` is all controls, `control3` one of them; none is all."""
    for module in MODULES:
        importlib.import_module(f"bench.faults.{module}")
    asked = {f"control {label.removeprefix('control')}" if "control" in label else label for label in labels}
    if "control " in asked:
        asked |= {label for label in ROWS if label.startswith("control")}
        asked.discard("control ")
    if unknown := asked - ROWS.keys():
        sys.exit(f"bench.faults: there is no row {', '.join(sorted(unknown))}; --list shows them")
    ordered = sorted(ROWS.values(), key=lambda row: (row.label.startswith("c"), int(row.label.split()[-1])))
    return [row for row in ordered if not asked or row.label in asked]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.faults", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help="numbers; control3 and the like; control")
    parser.add_argument("--list", action="store_true", help="list the rows and end")
    parser.add_argument("--seed", type=int, default=SEED, help=f"what chance comes from (default: {SEED})")
    parser.add_argument("--keep", action="store_true", help="put the rows into docs/scorecard.md")
    options = parser.parse_args()
    chosen = rows(options.rows)
    if options.list:
        for row in chosen:
            print(f"{row.label:>10}  {row.name}: {row.criterion}")
        return 0
    for library in ("aiokafka", "kafka"):  # brokers go away here all the time
        logging.getLogger(library).setLevel(logging.CRITICAL)
    signal.signal(signal.SIGALRM, _out_of_time)
    signal.signal(signal.SIGTERM, _leave)
    began = time.monotonic()
    results: list[Result] = []
    try:
        with Ground() as ground:
            for row in chosen:
                seed = options.seed + int(row.label.split()[-1])
                print(f"== {row.label}: {row.name} ({row.criterion}; seed {seed})", flush=True)
                results.append(run(row, ground, seed, ring))
                last = results[-1]
                print(f"  {scorecard.verdict(last)}, {last.seconds:.0f} s: {last.measured}", flush=True)
                ground.restore()
    except KafkaStartError as error:
        print(f"bench.faults: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print("\n" + scorecard.table(results))
    seconds = time.monotonic() - began
    print(f"{seconds / 60:.1f} minutes")
    if options.rows and options.keep:
        scorecard.replace(results)
    if not options.rows:
        (jar,) = LIBRARY.glob("kafka_2.13-*.jar")
        scorecard.write(results, jar.stem.partition("-")[2], seconds)
        print(f"written: {scorecard.FILE.relative_to(scorecard.ROOT)}")
    return 0 if all(result.passed for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
