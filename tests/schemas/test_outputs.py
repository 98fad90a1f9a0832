"""What Holdfast writes can be read back: any value of any output type, not only the examples."""

from __future__ import annotations

import json
from datetime import date, datetime
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.codec import EARLIEST_MS, LATEST_MS, encode, utc
from schemas.topics import TOPICS

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)

PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    str: texts,
    bool: st.booleans(),
    int: st.integers(-(2**53), 2**53),
    float: st.floats(allow_nan=False, allow_infinity=False),
    datetime: st.integers(EARLIEST_MS, LATEST_MS - 1).map(utc),
    date: st.dates(),
    NoneType: st.none(),
}


def values_of(kind: Any) -> st.SearchStrategy[Any]:
    """Any value that a field of this type may have."""
    if kind in PLAIN:
        return PLAIN[kind]
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin is list:
        return st.lists(values_of(arguments[0]), max_size=2)
    if origin is tuple:
        return st.tuples(*map(values_of, arguments))
    if origin is dict:
        return st.dictionaries(texts, values_of(arguments[1]), max_size=2)
    if origin is UnionType:
        return st.one_of([values_of(argument) for argument in arguments])
    return st.builds(kind, **{name: values_of(hint) for name, hint in get_type_hints(kind).items()})


@pytest.mark.parametrize("schema", [s.schema for s in TOPICS if s.schema], ids=lambda schema: schema.__name__)
def test_an_output_comes_back_as_it_was_written(schema: type[msgspec.Struct]) -> None:
    @settings(derandomize=True, deadline=None, max_examples=50)
    @given(values_of(schema))
    def comes_back(value: msgspec.Struct) -> None:
        written = encode(value)
        assert msgspec.json.decode(written, type=schema) == value
        assert set(json.loads(written)) == set(schema.__struct_fields__)

    comes_back()
