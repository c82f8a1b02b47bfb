"""What the emulated model says: JSON that fits a schema, with content taken from the text.

A schema is compiled once into nested functions; answering is then a few calls. The same schema and text give the same
answer on every machine.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any
from zlib import crc32

import orjson

from batch_assets.emulator.labels import LabelIndex
from batch_assets.emulator.reading import Reading
from batch_assets.emulator.strings import string_maker

Maker = Callable[[Reading, int], Any]
"""From a text and the depth of nesting to a value."""

_USUAL_ITEMS = 5
_DEEPEST = 8  # levels of a recursive schema that are filled
_BOUNDS = re.compile(r"(-?\d+)\s*(?:-|–|—|to|and|\.\.+)\s*(-?\d+)")
_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?![\w])")
_RATING = re.compile(r"urgen|prior|sever|import|critical", re.IGNORECASE)


def answer_text(prompt: str) -> str:
    """A plain answer: an extract of the prompt's text."""
    return Reading.of_prompt(prompt).gist(max_chars=600) or "There is no text to answer to."


def answer_json(schema: bytes, prompt: str) -> bytes:
    """An answer that fits `schema` (canonical JSON)."""
    return orjson.dumps(compiled(schema)(Reading.of_prompt(prompt), 0))


def violating(schema: bytes, prompt: str) -> bytes:
    """JSON that does not fit `schema`: its first property is of a type that no field has."""
    value = compiled(schema)(Reading.of_prompt(prompt), 0)
    if isinstance(value, dict) and value:
        value[next(iter(value))] = {"unexpected": [None]}
        return orjson.dumps(value)
    return orjson.dumps({"unexpected": [value]})


@lru_cache(maxsize=256)
def compiled(schema: bytes) -> Maker:
    """The maker of values of `schema`; raises ValueError for one that cannot be followed (an unknown $ref)."""
    return _Compiler(orjson.loads(schema)).maker("", None)


class _Compiler:
    """Turns one schema document into makers; `$ref`s are resolved when they are first used, so cycles are fine."""

    def __init__(self, document: Any) -> None:
        self._document = document
        self._by_ref: dict[str, Maker] = {}

    def maker(self, name: str, schema: Any) -> Maker:  # noqa: PLR0911 -- one return a kind of schema
        schema = self._document if schema is None else schema
        if not isinstance(schema, dict):
            return lambda reading, depth: reading.gist(200)
        if "$ref" in schema:
            return self._reference(name, str(schema["$ref"]))
        if "const" in schema:
            const = schema["const"]
            return lambda reading, depth: const
        if "enum" in schema:
            return self._enum(list(schema["enum"]))
        if "allOf" in schema:
            merged: dict[str, Any] = {k: v for k, v in schema.items() if k != "allOf"}
            for part in schema["allOf"]:
                merged |= self._resolve(part["$ref"]) if "$ref" in part else part
            return self.maker(name, merged)
        for key in ("anyOf", "oneOf"):
            if schema.get(key):
                return self._either(name, schema[key])
        kind = schema.get("type")
        if isinstance(kind, list):
            return self._either(name, [{**schema, "type": each} for each in kind])
        if kind is None:
            kind = "object" if "properties" in schema else "array" if "items" in schema else "string"
        makers = {
            "object": self._object,
            "array": self._array,
            "integer": self._number,
            "number": self._number,
            "boolean": self._boolean,
            "string": string_maker,
        }
        if kind in makers:
            return makers[kind](name, schema)
        return lambda reading, depth: None

    def _resolve(self, ref: str) -> Any:
        node = self._document
        try:
            for part in ref.removeprefix("#").split("/")[1:]:
                node = node[part.replace("~1", "/").replace("~0", "~")]
        except (KeyError, TypeError):
            raise ValueError(f"unknown reference {ref}") from None
        return node

    def _reference(self, name: str, ref: str) -> Maker:
        target = self._resolve(ref)

        def make(reading: Reading, depth: int) -> Any:
            key = f"{name} {ref}"
            if key not in self._by_ref:
                self._by_ref[key] = self.maker(name, target)
            return self._by_ref[key](reading, depth)

        return make

    def _enum(self, values: list[Any]) -> Maker:
        labels = [value for value in values if isinstance(value, str)]
        if labels:
            return _memo_index(tuple(labels))
        return lambda reading, depth: values[crc32(reading.text.encode()) % len(values)]

    def _either(self, name: str, options: list[Any]) -> Maker:
        """The first option that is not null; null where a recursive schema has to end."""
        null = any(isinstance(option, dict) and option.get("type") == "null" for option in options)
        others = [option for option in options if not (isinstance(option, dict) and option.get("type") == "null")]
        if not others:
            return lambda reading, depth: None
        make = self.maker(name, others[0])
        if not null:
            return make
        return lambda reading, depth: None if depth > 2 else make(reading, depth)

    def _object(self, name: str, schema: dict[str, Any]) -> Maker:
        required = set(schema.get("required", ()))
        properties = [
            (key, self.maker(key, each), key in required) for key, each in schema.get("properties", {}).items()
        ]

        def make(reading: Reading, depth: int) -> Any:
            if depth > _DEEPEST:
                return {}
            return {key: each(reading, depth + 1) for key, each, needed in properties if needed or depth < 3}

        return make

    def _array(self, name: str, schema: dict[str, Any]) -> Maker:
        items = schema.get("items", {})
        target = self._resolve(items["$ref"]) if isinstance(items, dict) and "$ref" in items else items
        least = int(schema.get("minItems", 0))
        most = min(max(_USUAL_ITEMS, least), int(schema.get("maxItems", 1 << 30)))
        labels = [v for v in target.get("enum", ()) if isinstance(v, str)] if isinstance(target, dict) else []
        if labels:
            index = LabelIndex(labels)

            def choose(reading: Reading, depth: int) -> Any:
                chosen = index.ranked(reading)[:most]
                chosen += [label for label in labels if label not in chosen][: max(0, least - len(chosen))]
                return chosen

            return choose
        item = self.maker(name, items)
        tasks = re.search(r"action|task|todo|to_do|next|follow|commit", name, re.IGNORECASE) is not None
        keywords = re.search(r"keyword|tag|topic|entit|term", name, re.IGNORECASE) is not None

        def make(reading: Reading, depth: int) -> Any:
            if depth > 3 and least == 0:
                return []
            parts = reading.tasks if tasks else reading.keywords if keywords else reading.sentences
            parts = parts[:most]
            parts += [reading.text] * (least - len(parts))
            return [item(Reading(part), depth + 1) for part in parts]

        return make

    def _boolean(self, name: str, schema: dict[str, Any]) -> Maker:
        urgent = _RATING.search(name) is not None
        index = LabelIndex([re.sub(r"^(?:is|has|needs|wants|can)_", "", name)])

        def make(reading: Reading, depth: int) -> bool:
            return bool(index.ranked(reading)) or (urgent and reading.alarms > 0)

        return make

    def _number(self, name: str, schema: dict[str, Any]) -> Maker:
        whole = schema.get("type") == "integer"
        low, high = _bounds(schema)
        step = schema.get("multipleOf") or (1 if whole else None)
        rating = _RATING.search(name) is not None

        def make(reading: Reading, depth: int) -> Any:
            if rating:
                floor, ceiling = low if low is not None else 1, high if high is not None else 5
                cues = min(3, reading.alarms)
                value: float = floor + (ceiling - floor) * (0.25 + 0.25 * cues)
            elif (found := _number_in(reading, low, high)) is not None:
                value = found
            elif low is not None and high is not None:
                value = low + (high - low) * (crc32(reading.text.encode()) % 101) / 100
            else:
                value = low if low is not None else min(high, 0) if high is not None else 0
            return _rounded(value, low, high, step, whole=whole)

        return make


@lru_cache(maxsize=256)
def _memo_index(labels: tuple[str, ...]) -> Maker:
    index = LabelIndex(labels)
    return lambda reading, depth: index.closest(reading)


def _bounds(schema: dict[str, Any]) -> tuple[float | None, float | None]:
    """Inclusive bounds, from the keywords or else from words such as "1 to 5" in the description."""
    nudge = 1 if schema.get("type") == "integer" else 1e-6
    low, high = schema.get("minimum"), schema.get("maximum")
    if (above := schema.get("exclusiveMinimum")) is not None:
        low = above + nudge
    if (below := schema.get("exclusiveMaximum")) is not None:
        high = below - nudge
    if low is None and high is None and (match := _BOUNDS.search(str(schema.get("description", "")))):
        low, high = sorted((int(match[1]), int(match[2])))
    return low, high


def _number_in(reading: Reading, low: float | None, high: float | None) -> float | None:
    """The first number of the text that is within the bounds."""
    numbers = map(float, _NUMBER.findall(reading.text[:2000]))
    return next((n for n in numbers if (low is None or n >= low) and (high is None or n <= high)), None)


def _rounded(value: float, low: float | None, high: float | None, step: float | None, *, whole: bool) -> float | int:
    """The multiple of `step` nearest to `value` that is within the bounds."""
    if step:
        value = round(value / step) * step
        if high is not None and value > high:
            value -= step
        if low is not None and value < low:
            value += step
    return int(value) if whole else round(value, 6)
