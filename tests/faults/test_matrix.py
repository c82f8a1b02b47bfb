"""Each line of the matrix that `make faults` prints."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from catalogue import LINES
from nights_with_faults import Fault, Subject, expected_answers, measure

_ANSWERS = cache(expected_answers)


@pytest.mark.parametrize(
    ("subject", "fault"), [pytest.param(*line, id=f"{line[0].name}: {line[1].name}") for line in LINES]
)
def test_line(subject: Subject, fault: Fault) -> None:
    expected: list[Any] = _ANSWERS(subject)
    line = measure(subject, fault, expected=expected)
    assert line.ok, line
