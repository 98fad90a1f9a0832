"""Hypothesis draws the same cases in every run; a console without Kafka, fed by a real machine."""

from hypothesis import settings

settings.register_profile("console", derandomize=True, deadline=None, max_examples=25)
settings.load_profile("console")
