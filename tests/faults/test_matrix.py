"""Each line of the matrix that `make faults` prints."""

from __future__ import annotations

import pytest
from matrix import lines_of
from subjects import SUBJECTS, Subject


@pytest.mark.filterwarnings(
    "ignore::ResourceWarning",  # the storage client does not close the connection of a download that was refused
    "ignore::pytest.PytestUnraisableExceptionWarning",
)
@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.name)
def test_every_fault(subject: Subject) -> None:
    lines = lines_of(subject)
    assert [line for line in lines if not line.ok] == []
    assert len(lines) > 5
