"""Strings of an answer: by the field's format, its pattern, its name, else an extract of the text."""

import re
from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID
from zlib import crc32

from batch_assets.emulator.reading import Reading, squeeze

_Make = Callable[[Reading, int], Any]

_DATE = re.compile(r"\b(\d{4})-(\d{2})-(\d{2})\b")
_CAPITALISED = re.compile(r"\b[A-Z][\w'-]+(?: [A-Z][\w'-]*)*")
_SPEAKER = re.compile(r"^([A-Z][\w .'-]{0,40}):\s")
_EMAIL = re.compile(r"[\w.+-]+@[\w-]+\.[\w.]+\w")
_URL = re.compile(r"https?://\S+")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_LANGUAGES = {
    "en": ("the", "is", "my", "and", "to", "have", "what", "i"),
    "de": ("der", "die", "und", "ist", "ich", "nicht", "das", "meine"),
    "fr": ("le", "la", "est", "je", "et", "pas", "une", "mon"),
    "es": ("el", "es", "mi", "no", "que", "una", "por", "los"),
    "it": ("il", "è", "di", "che", "non", "mia", "per", "una"),
    "pt": ("o", "não", "meu", "uma", "que", "para", "é", "do"),
}
_SAMPLES = (
    "0",
    "1",
    "1.00",
    "A",
    "AAA",
    "ABC",
    "abc",
    "AB1234",
    "A1",
    "a-b",
    "2026-01-01",
    "12:00",
    "+10000000000",
    "#ffffff",
)


def string_maker(name: str, schema: dict[str, Any]) -> _Make:
    """The maker of a string that fits `schema` (format, pattern, minLength, maxLength) under the field name `name`."""
    make = _by_format(schema.get("format")) or _by_name(name.lower())
    least, most = int(schema.get("minLength", 0)), schema.get("maxLength")
    pattern = schema.get("pattern")
    if pattern is not None:
        make = _matching(pattern, make)
    if most is None and not least:
        return lambda reading, depth: make(reading)

    def fitted(reading: Reading, depth: int) -> str:
        text = make(reading)
        if most is not None and len(text) > most and pattern is None:
            text = squeeze(text, most) if most > 1 else text[:most]
        return text if len(text) >= least or pattern is not None else text.ljust(least, ".")

    return fitted


def _by_format(kind: Any) -> Callable[[Reading], str] | None:
    makers: dict[str, Callable[[Reading], str]] = {
        "date": _date,
        "date-time": lambda reading: f"{_date(reading)}T12:00:00Z",
        "time": lambda reading: "12:00:00Z",
        "duration": lambda reading: "P1D",
        "email": lambda reading: _first(_EMAIL, reading) or "someone@example.com",
        "hostname": lambda reading: "example.com",
        "ipv4": lambda reading: "192.0.2.1",
        "ipv6": lambda reading: "2001:db8::1",
        "uuid": lambda reading: str(UUID(int=crc32(reading.text.encode()) << 64 | 0x4000 << 64 | 1 << 63, version=4)),
        "uri": lambda reading: _first(_URL, reading) or "https://example.com/",
    }
    return makers.get(str(kind))


def _by_name(name: str) -> Callable[[Reading], str]:
    makers: tuple[tuple[str, Callable[[Reading], str]], ...] = (
        (r"title|headline|subject|heading", lambda reading: squeeze(reading.sentences[0], 60)),
        (r"owner|assignee|person|speaker|author|who\b|responsible", _person),
        (r"(?:^|_)name$|entity|company|product", _named),
        (r"lang(?:uage)?(?:$|_)", _language),
        (r"date|deadline|due", _date),
        (r"keyword|tag|topic|category|label", lambda reading: " ".join(reading.keywords[:2]) or "general"),
        (r"amount|price|number|quantity", lambda reading: _first(_NUMBER, reading) or "0"),
        (
            r"reason|rationale|explanation|why|justification",
            lambda reading: squeeze(f'The text says: "{reading.gist(140, 1)}"', 200),
        ),
        (r"summary|abstract|overview|gist|description", lambda reading: reading.gist(400, 3)),
    )
    for pattern, make in makers:
        if re.search(pattern, name):
            return make
    return lambda reading: reading.gist(200, 2)


def _named(reading: Reading) -> str:
    return _first(_CAPITALISED, reading) or " ".join(reading.keywords[:1]) or "unknown"


def _first(pattern: re.Pattern[str], reading: Reading) -> str | None:
    match = pattern.search(reading.text[:20_000])
    return match[0] if match else None


def _date(reading: Reading) -> str:
    for year, month, day in _DATE.findall(reading.text[:20_000]):
        if 1 <= int(month) <= 12 and 1 <= int(day) <= 28:
            return f"{year}-{month}-{day}"
    mixed = crc32(reading.text.encode())
    return f"2026-{1 + mixed % 12:02}-{1 + mixed // 12 % 28:02}"


def _person(reading: Reading) -> str:
    match = _SPEAKER.match(reading.text)
    return match[1] if match else _first(_CAPITALISED, reading) or "unassigned"


def _language(reading: Reading) -> str:
    words = set(reading.words[:200])
    return max(_LANGUAGES, key=lambda language: sum(word in words for word in _LANGUAGES[language]))


def _matching(pattern: str, make: Callable[[Reading], str]) -> Callable[[Reading], str]:
    """The first of the natural answer, pieces of the text and a few samples that `pattern` accepts."""
    try:
        accepted = re.compile(pattern)
    except re.error:
        return make

    def candidates(reading: Reading) -> Iterable[str]:
        yield make(reading)
        yield from _NUMBER.findall(reading.text[:2000])
        yield from reading.text[:2000].split()
        yield from _SAMPLES

    def matching(reading: Reading) -> str:
        return next((text for text in candidates(reading) if accepted.search(text)), "")

    return matching
