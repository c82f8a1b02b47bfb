"""The one-step decoder changes nothing: each text gets the values and errors that the JSON schema alone gives it."""

from __future__ import annotations

import enum
from datetime import date
from decimal import Decimal
from typing import Annotated, Literal

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from batch_assets.flat_schema import flat_decoder
from batch_assets.schema import OutputSchema, ResponseDecoder


class _Sort(enum.Enum):
    CARD = "card"
    FEE = "fee"


class _Flat(BaseModel):
    sort: _Sort
    urgency: int = Field(ge=1, le=5)
    count: int
    share: float = Field(gt=0)
    reason: str | None
    urgent: bool
    words: list[str]
    sorts: list[_Sort] | None
    fixed: Literal["one"]


class _Inner(BaseModel):
    number: int


_FITTING = {
    "sort": "fee",
    "urgency": 3,
    "count": -7,
    "share": 0.25,
    "reason": None,
    "urgent": True,
    "words": ["a", "“b”"],
    "sorts": ["card"],
    "fixed": "one",
}
_VALUES = st.one_of(
    st.sampled_from(["card", "fee", "one", "", 3, 3.0, 5.5, 0, -0.0, 1 << 63, 1 << 70, 1e300, True, None, [], {}]),
    st.lists(st.sampled_from(["card", "x", 1, None]), max_size=3),
    st.integers(),
    st.text(max_size=5),
)
_SCHEMA = OutputSchema.of(_Flat)


@pytest.fixture(scope="module")
def by_schema_alone() -> ResponseDecoder:
    decoder = _SCHEMA.decoder()
    decoder._flat = None  # what it is compared with
    return decoder


@settings(max_examples=200, deadline=None)
@given(changes=st.dictionaries(st.sampled_from([*_FITTING, "extra"]), _VALUES, max_size=3), torn=st.integers(0, 400))
def test_values_and_errors_are_those_of_the_schema(
    by_schema_alone: ResponseDecoder, changes: dict[str, object], torn: int
) -> None:
    text = b"{%b}" % b",".join(
        b"%b:%b" % (orjson.dumps(name), repr(value).encode() if type(value) is int else orjson.dumps(value))
        for name, value in {**_FITTING, **changes}.items()
    )
    missing = orjson.dumps({name: value for name, value in _FITTING.items() if name not in changes})
    texts = [orjson.dumps(_FITTING), text, text[:torn], missing, None, text.replace(b",", b" ,\n")]
    fast, slow = _SCHEMA.decoder().decode(texts), by_schema_alone.decode(texts)
    assert fast.errors == slow.errors
    assert fast.columns == slow.columns
    assert 0 not in fast.errors


@pytest.mark.parametrize(
    "kind", [date, Decimal, _Inner, Annotated[str, Field(max_length=3)], Annotated[float, Field(multiple_of=0.5)]]
)
def test_other_rules_are_left_to_the_schema(kind: type) -> None:
    schema = OutputSchema.of(type("Model", (BaseModel,), {"__annotations__": {"field": kind}}))
    assert schema.json_schema is not None
    assert flat_decoder(schema.json_schema, schema.fields) is None


def test_plain_rules_are_known() -> None:
    assert _SCHEMA.json_schema is not None
    assert flat_decoder(_SCHEMA.json_schema, _SCHEMA.fields) is not None
