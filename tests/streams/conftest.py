"""Hypothesis draws the same cases in every run, and a slow machine fails nothing."""

from hypothesis import settings

settings.register_profile("streams", derandomize=True, deadline=None, max_examples=40)
settings.load_profile("streams")
