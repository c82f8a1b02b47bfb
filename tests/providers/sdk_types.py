"""Whether a JSON value is of a type of an SDK, exactly: no conversion, no unknown field, at any depth.

The SDKs themselves are lenient: their models keep unknown fields, and their TypedDicts are not checked at all.
"""

from __future__ import annotations

import base64
import enum
import re
import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Annotated, Any, Literal, NotRequired, Required, Union, get_args, get_origin

import pydantic
import typing_extensions
from typing_extensions import TypeAliasType, is_typeddict

_LISTS = (list, Iterable, Sequence, tuple)
_WORDS = {str: str, int: int, bool: bool, float: (int, float), type(None): type(None)}


def complaints(value: Any, kind: Any, at: str = "") -> list[str]:
    """Where `value` is not of the type `kind`; empty if it is."""
    return list(_complaints(value, kind, at))


def _complaints(value: Any, kind: Any, at: str) -> Iterator[str]:
    kind = _plain(kind)
    origin, arguments = get_origin(kind), get_args(kind)
    if kind in (Any, object):
        return
    if origin in (Union, types.UnionType):
        found = [complaints(value, each, at) for each in arguments]
        if all(found):
            yield from min(found, key=lambda each: _distance(each, at))
    elif origin is Literal:
        if not any(value == each and type(value) is type(each) for each in arguments):
            yield f"{at}: {value!r} is none of {arguments}"
    elif origin in _LISTS or kind in _LISTS:
        yield from _of_list(value, arguments[0] if arguments else Any, at)
    elif origin in (dict, Mapping) or kind is dict:
        yield from _of_dict(value, *(arguments or (str, Any)), at)
    elif is_typeddict(kind) or (isinstance(kind, type) and issubclass(kind, pydantic.BaseModel)):
        yield from _of_fields(value, kind, at)
    elif isinstance(kind, type) and issubclass(kind, enum.Enum):
        if value not in {each.value for each in kind}:
            yield f"{at}: {value!r} is no {kind.__name__}"
    else:
        yield from _of_word(value, kind, at)


def _plain(kind: Any) -> Any:
    """A type without aliases and annotations."""
    while True:
        origin = get_origin(kind)
        if origin in (Annotated, Required, NotRequired):
            kind = get_args(kind)[0]
        elif isinstance(kind, TypeAliasType):
            kind = kind.__value__
        elif isinstance(origin, TypeAliasType):
            kind = origin.__value__[get_args(kind)]
        else:
            return kind


def _distance(found: list[str], at: str) -> tuple[bool, bool, int]:
    """How badly a variant of a union fits: one of another kind, or whose own tag is another one, was not meant."""
    tag = re.compile(rf"{re.escape(at)}\.\w+: .* is none of ")
    return any(each.startswith(f"{at}: ") for each in found), any(map(tag.match, found)), len(found)


def _of_list(value: Any, item: Any, at: str) -> Iterator[str]:
    if not isinstance(value, list):
        yield f"{at}: {value!r} is no list"
        return
    for place, each in enumerate(value):
        yield from _complaints(each, item, f"{at}.{place}")


def _of_dict(value: Any, key: Any, item: Any, at: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{at}: {value!r} is no object"
        return
    for name, each in value.items():
        yield from _complaints(name, key, f"{at} (key)")
        yield from _complaints(each, item, f"{at}.{name}")


def _of_fields(value: Any, kind: Any, at: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{at}: {value!r} is no {kind.__name__}"
        return
    fields = _fields(kind)
    for name, each in value.items():
        if name in fields:
            yield from _complaints(each, fields[name][0], f"{at}.{name}")
        elif "__pydantic_extra__" not in getattr(kind, "__annotations__", {}):  # else the API lets it have any
            yield f"{at}.{name}: {kind.__name__} has no such field"
    for name, (_, required) in fields.items():
        if required and name not in value:
            yield f"{at}.{name}: {kind.__name__} needs it"


@cache
def _fields(kind: Any) -> dict[str, tuple[Any, bool]]:
    """Type of each field by its name on the wire, and whether it has to be there."""
    if not is_typeddict(kind):
        kind.model_rebuild()
        return {
            field.alias or name: (field.annotation, field.is_required()) for name, field in kind.model_fields.items()
        }
    inherited: dict[str, bool] = {}
    for base in getattr(kind, "__orig_bases__", ()):
        if is_typeddict(base):  # one with total=False keeps its fields optional below one with total=True
            inherited |= {name: required for name, (_, required) in _fields(base).items()}
    fields = {}
    for name, hint in typing_extensions.get_type_hints(kind, include_extras=True).items():
        required = get_origin(hint) is Required or (kind.__total__ and get_origin(hint) is not NotRequired)
        wire = _alias_of(hint) or name
        fields[wire] = (hint, inherited.get(wire, required))
    return fields


def _alias_of(hint: Any) -> str | None:
    """The name that `PropertyInfo(alias=...)` of openai and anthropic gives a field on the wire."""
    while get_origin(hint) in (Required, NotRequired):
        hint = get_args(hint)[0]
    if get_origin(hint) is not Annotated:
        return None
    return next((each.alias for each in get_args(hint)[1:] if getattr(each, "alias", None)), None)


def _of_word(value: Any, kind: Any, at: str) -> Iterator[str]:
    if kind is None:
        kind = type(None)
    if kind is datetime:
        try:
            if datetime.fromisoformat(value).tzinfo is None:
                yield f"{at}: {value!r} has no time zone"
        except (TypeError, ValueError):
            yield f"{at}: {value!r} is no time"
    elif kind is bytes:
        try:
            base64.b64decode(value, validate=True)
        except (TypeError, ValueError):
            yield f"{at}: {value!r} is no base64"
    elif kind not in _WORDS:
        yield f"{at}: {value!r} is no {typing.cast('Any', kind)}"
    elif not isinstance(value, _WORDS[kind]) or (isinstance(value, bool) and kind is not bool):
        yield f"{at}: {value!r} is no {kind.__name__}"
