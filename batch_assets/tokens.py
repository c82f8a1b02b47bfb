"""Token estimates without a tokenizer: by classes of characters, then by the byte once a sample has calibrated them.

The weights were fitted to OpenAI's o200k_base vocabulary (November 2026) over chat messages, meeting transcripts,
Python, Markdown, JSON and one paragraph in each of twelve languages. On those it is within -5..+8 % for a corpus of one
kind, within -8..+15 % for a paragraph in one language, and a third off at worst for one text (misspelt words: too low).
Other vendors' tokenizers differ. What a provider reported for earlier nights is the better calibration where there is
any: `TokenEstimator.scaled`. Pure.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt
import orjson

UPPER_FACTOR = 1.3
"""From the central estimate, which is for money, to the upper one, which is for queue limits and hard caps."""

BYTES_PER_TOKEN = 3.5
"""Of a text that nothing is known about: English has 4 to 5, German 5, compact JSON and identifiers 1 to 2.5."""

MESSAGE_TOKENS = 4
"""Of a message beside its text: start, role, end."""
REPLY_TOKENS = 3
"""Of the beginning of the answer, which counts as input. Both as in OpenAI's cookbook, "How to count tokens with
tiktoken" (3 and the role for each message, 3 for the reply; read in November 2026); other vendors do not say."""

_SAMPLED_CHARACTERS = 20_000
"""Of one long text: its beginning stands for the whole of it."""

# Latin words with letters beyond ASCII are split more finely than others, so they count by the character.
_MARKED_WORD = re.compile("[A-Za-z\u00c0-\u024f]*[\u00c0-\u024f][A-Za-z\u00c0-\u024f]*")

# (what to count, tokens for each match)
_CLASSES = (
    (re.compile("[A-Z]?[a-z]+|[A-Z]+"), 1.1),  # words, cut where the case changes
    (re.compile("[a-z][A-Z]"), 1.6),  # base64, camelCase: such words are rarely in the vocabulary
    (re.compile("[0-9]{1,3}"), 1.35),
    (re.compile(r"[!-/:-@\[-`{-~]"), 0.45),
    (re.compile(r"\n\s*|[ \t]{2,}"), 0.9),
    (re.compile("[\u2010-\u206f\u3001-\u303f\uff01-\uff20]"), 1.0),  # typographic and full-width punctuation
    (re.compile("[\u0370-\u058f]"), 0.32),  # Greek, Cyrillic, Armenian
    (re.compile("[\u0590-\u08ff]"), 0.36),  # Hebrew, Arabic
    (re.compile("[\u0900-\u109f\u1200-\u1fff]"), 0.36),  # Indic scripts, Thai, ...
    (re.compile("[\u1100-\u11ff\uac00-\ud7af]"), 0.65),  # Hangul
    (re.compile("[\u3040-\u30ff]"), 0.69),  # Kana
    (re.compile("[\u3400-\u9fff\uf900-\ufaff]"), 0.64),  # Han
    (re.compile("[\u2190-\u2bff\U00010000-\U0010ffff]"), 1.6),  # symbols, emoji
    (re.compile("[\x00-\x08\x0b-\x0c\x0e-\x1f\x7f]"), 1.0),
)
_MARKED_CHARACTER = 0.4


def estimate_tokens(text: str) -> int:
    """Return the central estimate of a text's tokens; 0 for an empty text, else at least 1."""
    if not text:
        return 0
    marked_characters = 0
    if not text.isascii():
        words = _MARKED_WORD.findall(text)
        marked_characters = sum(map(len, words))
        text = _MARKED_WORD.sub("\u00b7", text) if words else text  # a character of no class
    total = marked_characters * _MARKED_CHARACTER
    total += sum(weight * len(pattern.findall(text)) for pattern, weight in _CLASSES)
    return max(1, round(total))


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenEstimator:
    """Tokens of a request by its bytes: `fixed_tokens + bytes * tokens_per_byte`.

    Cheap enough for every row, as the bytes are counted anyway.
    """

    tokens_per_byte: float
    fixed_tokens: int = 0
    """Of what every request has besides its content: system text, schema, framing."""

    @classmethod
    def from_sample(cls, texts: Iterable[str], *, fixed_tokens: int = 0) -> Self:
        """Calibrate from some texts, for lengths counted in bytes of their UTF-8.

        Some hundred texts, taken from all over the table, are enough. Without any text BYTES_PER_TOKEN is used.
        """
        tokens = size_bytes = 0
        for text in texts:
            part = text[:_SAMPLED_CHARACTERS]
            tokens += estimate_tokens(part)
            size_bytes += len(part.encode(errors="replace"))
        return cls._of(tokens, size_bytes, fixed_tokens)

    @classmethod
    def from_contents(cls, contents: Iterable[bytes], *, fixed_tokens: int = 0) -> Self:
        """Calibrate from rendered contents (JSON string literals), for lengths counted in bytes of such literals."""
        tokens = size_bytes = 0.0
        for content in contents:
            text = orjson.loads(content)
            part = text[:_SAMPLED_CHARACTERS]
            tokens += estimate_tokens(part)
            size_bytes += len(content) * len(part) / max(1, len(text))
        return cls._of(tokens, size_bytes, fixed_tokens)

    @classmethod
    def _of(cls, tokens: float, size_bytes: float, fixed_tokens: int) -> Self:
        per_byte = tokens / size_bytes if size_bytes and tokens else 1 / BYTES_PER_TOKEN
        return cls(tokens_per_byte=per_byte, fixed_tokens=fixed_tokens)

    def tokens(self, bytes_count: int) -> int:
        """Return the central estimate for one request of so many content bytes, for money."""
        return self.fixed_tokens + math.ceil(bytes_count * self.tokens_per_byte)

    def upper(self, bytes_count: int) -> int:
        """Return the upper estimate (central times UPPER_FACTOR), for queue limits and hard caps."""
        return math.ceil(self.tokens(bytes_count) * UPPER_FACTOR)

    def tokens_of(self, bytes_counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return `tokens` of each count."""
        estimated: npt.NDArray[np.int64] = np.ceil(bytes_counts * self.tokens_per_byte).astype(np.int64)
        return estimated + self.fixed_tokens

    def upper_of(self, bytes_counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return `upper` of each count."""
        upper: npt.NDArray[np.int64] = np.ceil(self.tokens_of(bytes_counts) * UPPER_FACTOR).astype(np.int64)
        return upper

    def scaled(self, factor: float) -> Self:
        """Return this estimator times a measured factor: tokens that a provider reported / tokens estimated for them.

        Raises ValueError if the factor is not a positive number.
        """
        if not (math.isfinite(factor) and factor > 0):
            raise ValueError(f"factor is {factor}")
        return replace(
            self, tokens_per_byte=self.tokens_per_byte * factor, fixed_tokens=math.ceil(self.fixed_tokens * factor)
        )
