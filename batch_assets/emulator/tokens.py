"""A deterministic, dependency-free token counter.

It counts like a byte-pair vocabulary does on average (about 5.6 characters a token in English prose, one token a CJK
character, up to three digits a token). The figures are stable across versions of Python; they are not OpenAI's.
"""

import re
from functools import lru_cache
from itertools import islice

_PIECE = re.compile(r"[A-Za-zÀ-ɏͰ-׿؀-ۿऀ-෿]{1,8}|\d{1,3}|\S")


def count(text: str) -> int:
    """Number of tokens in `text`."""
    return len(_PIECE.findall(text))


@lru_cache(maxsize=1024)
def count_repeated(text: str) -> int:
    """`count`, remembered: for what every request of a batch repeats (instructions, schemas)."""
    return len(_PIECE.findall(text))


def cut(text: str, max_tokens: int) -> str:
    """The first `max_tokens` tokens of `text`."""
    following = next(islice(_PIECE.finditer(text), max_tokens, None), None)
    return text if following is None else text[: following.start()].rstrip()
