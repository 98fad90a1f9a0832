"""Judging what was decided: how good the risks were, whether alerts came true, what settings change.

Everything here takes decisions, in the order in which a replay made them, and returns plain values.
`docs/evaluation.md` has the definition and the unit of every figure.
"""
