"""The matrix that `make faults` prints, of one provider: CI prints all of them."""

from __future__ import annotations

from matrix import lines_of
from subjects import SUBJECTS


def test_every_fault_of_openai() -> None:
    lines = lines_of(SUBJECTS[0])
    assert [line for line in lines if not line.ok] == []
    assert len(lines) > 50
