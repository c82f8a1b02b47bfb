"""The label of an enum that is closest to a text."""

import math
import re
from collections import defaultdict
from collections.abc import Sequence
from zlib import crc32

from batch_assets.emulator.reading import Reading, stem

_PART = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|[^\W_a-zA-Z]+")
_DEFAULTS = ("other", "others", "unknown", "neutral", "none", "general", "n/a", "misc", "medium", "normal")


class LabelIndex:
    """Labels by the stems and the three-letter pieces of their words; built once per enum."""

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = list(labels)
        parts = [{stem(part.lower()) for part in _PART.findall(label) if len(part) > 1} for label in self.labels]
        self._stems = _postings(parts)
        self._pieces = _postings([{piece for part in each for piece in _pieces(part)} for each in parts])
        self._fallback = next((label for label in self.labels if label.lower() in _DEFAULTS), None)

    def closest(self, reading: Reading) -> str:
        """Never fails: with nothing in common, a label such as "other", else one that depends on the text alone."""
        if scores := self._score(reading.stems, self._stems):
            return self.labels[max(scores, key=lambda i: (scores[i], -i))]
        if self._fallback is not None:
            return self._fallback
        scores = self._score({piece for known in reading.stems for piece in _pieces(known)}, self._pieces)
        if scores and max(scores.values()) > 2.0:
            return self.labels[max(scores, key=lambda i: (scores[i], -i))]
        return self.labels[crc32(reading.text.encode()) % len(self.labels)]

    def ranked(self, reading: Reading) -> list[str]:
        """The labels that share a word with the text, closest first."""
        scores = self._score(reading.stems, self._stems)
        return [self.labels[i] for i in sorted(scores, key=lambda i: (-scores[i], i))]

    def _score(
        self, found: "dict[str, int] | set[str]", postings: dict[str, list[tuple[int, float]]]
    ) -> dict[int, float]:
        scores: dict[int, float] = {}
        for key in found:
            if key in postings:
                for label, weight in postings[key]:
                    scores[label] = scores.get(label, 0.0) + weight
        return scores


def _pieces(word: str) -> set[str]:
    padded = f" {word} "
    return {padded[i : i + 3] for i in range(len(padded) - 2)}


def _postings(keys: Sequence[set[str]]) -> dict[str, list[tuple[int, float]]]:
    """key -> labels that have it, with a weight that falls with how many labels and how many keys there are."""
    owners: dict[str, list[int]] = defaultdict(list)
    for label, each in enumerate(keys):
        for key in each:
            owners[key].append(label)
    rarity = {key: 1.0 + math.log(len(keys) / len(labels)) for key, labels in owners.items()}
    return {
        key: [(label, rarity[key] * (0.5 + 0.5 / len(keys[label]))) for label in labels]
        for key, labels in owners.items()
    }
