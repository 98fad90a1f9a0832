"""A model in a file: what `--model` names."""

from __future__ import annotations

from pathlib import Path

import msgspec

from agents.errors import OperatorError
from agents.lines import Lines
from schemas.learning import ModelSnapshot
from streams.learning.served import Served


def read_model(path: Path, horizon_days: float) -> ModelSnapshot:
    """Read a model to serve: the last line of a file such as `models.jsonl`.

    Parameters
    ----------
    path
        The file; compressed when it ends in `.gz`.
    horizon_days
        The horizon that the model must be of.

    Raises
    ------
    OperatorError
        When the file does not end in a model, or in one of other features or of another horizon.
    """
    last = b""
    for line in Lines(str(path)):
        last = (line or b"").strip() or last
    try:
        snapshot = msgspec.json.decode(last, type=ModelSnapshot)
        Served(snapshot)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise OperatorError(f"{path}: does not end in a model: {error}") from None
    except ValueError as error:
        raise OperatorError(f"{path}: {error}") from None
    if snapshot.horizon_days != horizon_days:
        raise OperatorError(
            f"{path}: model {snapshot.model_version} is of a horizon of {snapshot.horizon_days:g} days, "
            f"not of {horizon_days:g}"
        )
    return snapshot
