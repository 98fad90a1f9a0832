"""`python -m bench`: every bench that needs nothing but this project, one after the other."""

from __future__ import annotations

import runpy
import sys

BENCHES = ("bench.decode", "bench.replay")

for name in BENCHES:
    print(f"== {name}", flush=True)
    sys.argv = [name]
    try:
        runpy.run_module(name, run_name="__main__")
    except SystemExit as ended:
        if ended.code:
            raise
