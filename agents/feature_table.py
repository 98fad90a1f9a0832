"""The table of features in docs/features.md, from the registry that the models go by."""

from __future__ import annotations

from math import log1p

from agents.wording import phrase
from streams.customer.features import FAMILIES, FEATURES, Feature

_PLAIN = {"share": 0.25, "0 or 1": 1.0, "-1 to 1": 1.0}
_COUNT = 3.0
_SHARE = 0.5


def features_table() -> str:
    """Give the table in Markdown, family by family.

    Examples
    --------
    >>> features_table().splitlines()[2].split(" | ")[:3]
    ['| `log_tenure`', 'tenure', 'time since the first order (T)']
    """
    lines = [
        "| feature | family | what it is | unit | as of a moment | a marketer reads |",
        "|---|---|---|---|---|---|",
    ]
    for feature in sorted(FEATURES, key=lambda feature: FAMILIES.index(feature.family)):
        said = phrase(feature.name, _example(feature))
        cells = (f"`{feature.name}`", feature.family, feature.about, feature.unit, feature.as_of, said)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _example(feature: Feature) -> float:
    plain = _PLAIN.get(feature.unit)
    if plain is not None:
        return plain
    return log1p(_SHARE if feature.unit == "log1p share" else _COUNT)
