from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from batch_assets.emulator import Emulator


@pytest.fixture
def emulator(batch_emulator: Emulator) -> Emulator:
    """Clean; batches complete by the next call."""
    return batch_emulator
