"""A store that must be there: a mistyped folder is no empty store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batch_assets.errors import ConfigError
from batch_assets.ledger import Ledger
from batch_assets.storage.local import LocalStore

if TYPE_CHECKING:
    from pathlib import Path


def open_ledger(root: Path, namespace: str) -> Ledger:
    """The ledger of a store's folder. Raises ConfigError if there is no store."""
    if not (root / "store.json").is_file():
        raise ConfigError(f"there is no store in {root}: it holds no store.json")
    return Ledger.open(LocalStore(root), namespace)
