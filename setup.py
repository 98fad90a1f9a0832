"""How Holdfast is built; everything that can be said without code is in pyproject.toml.

With `HOLDFAST_COMPILE=1` the hot path, the modules below, is compiled by mypyc, which comes with mypy and
needs a C compiler. The sources stay the truth: the compiled modules decide the same, only several times
faster, which a test holds against the interpreter byte by byte (`make test-compiled`). What defines Structs
is not among them: mypyc drops the arguments of their classes. Nor is `schemas.codec`: there `raise ... from
None` keeps customers' values out of tracebacks, which mypyc does not do.
"""

from __future__ import annotations

import os

from setuptools import setup

HOT_PATH = [
    "streams/clock/merge.py",
    "streams/clock/timers.py",
    "streams/clock/watermark.py",
    "streams/customer/alerts.py",
    "streams/customer/at_hand.py",
    "streams/customer/crossing.py",
    "streams/customer/decay.py",
    "streams/customer/features.py",
    "streams/customer/history.py",
    "streams/customer/lifecycle.py",
    "streams/customer/machine.py",
    "streams/customer/dedupe.py",
    "streams/customer/packing.py",
    "streams/customer/reviews.py",
    "streams/customer/rfm.py",
    "streams/customer/silence.py",
    "streams/customer/state.py",
    "streams/customer/state_codec.py",
    "streams/customer/verdicts.py",
    "streams/evaluation/audit.py",  # a judge: compiled with the class that it extends, or not at all
    "streams/identity/machine.py",
    "streams/identity/stage.py",
    "streams/intake.py",
    "streams/learning/served.py",
    "streams/playback.py",
    "streams/value/alert_outcomes.py",
    "streams/value/bgnbd_of_one.py",
    "streams/value/clv.py",
    "streams/value/days.py",
    "streams/value/discounted.py",
    "streams/value/geometric.py",
    "streams/value/kpis.py",
    "streams/value/lapse.py",
]

if __name__ == "__main__":
    extensions = []
    if os.environ.get("HOLDFAST_COMPILE") == "1":
        from mypyc.build import mypycify

        extensions = mypycify(HOT_PATH, opt_level="3")
        for extension in extensions:
            # GCC would fuse multiply and add where the processor can (ARM64): other bits, other decisions.
            extension.extra_compile_args.append("-ffp-contract=off")
    setup(ext_modules=extensions)
