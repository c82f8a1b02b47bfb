"""Many small reads of a store at one time: a bucket answers each after some 30 ms, and a tick has 40 s."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_READERS = 16

_Item = TypeVar("_Item")
_Found = TypeVar("_Found")


def together(read: Callable[[_Item], _Found], items: Sequence[_Item]) -> list[_Found]:
    """What `read` gives for each item, in their order. Raises what one of them raises."""
    if len(items) < _READERS:
        return [read(item) for item in items]
    with ThreadPoolExecutor(_READERS) as threads:
        return list(threads.map(read, items))
