"""What the emulated model makes of a text: which part is the text, its sentences, its gist, its tasks."""

import math
import re
from collections import Counter
from collections.abc import Callable
from typing import Any, Generic, TypeVar

_INSTRUCTION = re.compile(
    r"(?:please |you are |your task |given |i want |here (?:is|are) |the following |"
    r"(?:classify|summari[sz]e|extract|analy[sz]e|label|tag|categori[sz]e|rate|translate|identify|read|write|answer|"
    r"determine|describe|detect|list|find|score|judge|decide|assign|generate|rewrite|review)\b)",
    re.IGNORECASE,
)
_LEAD = re.compile(
    r"\s*(?:(?:customer|user)(?:'s)? )?"
    r"(?:text|message|query|question|transcript|input|document|review|email|ticket):\s",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"(?<=[.!?。！？…])\s+|\n+|(?<=[。！？])")
_WORD = re.compile(r"[^\W_]+")
_TASK = re.compile(
    r"\b(?:will|need to|needs to|should|must|have to|has to|let's|let us|going to|action item|todo|follow up|by (?:mon|"
    r"tues|wednes|thurs|fri|satur|sun)day|next (?:week|meeting))\b",
    re.IGNORECASE,
)
_SPEAKER = re.compile(r"^\s*([A-Z][\w .'-]{0,40}):(?:\s|$)", re.MULTILINE)
_MARKER = re.compile(r"\s*\{[a-z]+(?: [a-z]+)?\}")  # {laughs}, {cough} in a transcript
_LONGEST = 60_000  # characters of a text that are looked at
_COMMON = """
    the and for are but not you your with this that from have has had was were will would can could should what when
    where which who why how all any been being did does done into just its our out she they them then than there
    their these those too very about after again also because before here him his her more most not now off only
    other over own same some such still get got yeah yes okay uhm hmm mmm right well know think mean like really thing
    things kind sort guess actually maybe gonna say said
"""
_ALARMING = frozenset(
    {"urgent", "urgently", "immediately", "asap", "emergency", "stolen", "lost", "fraud", "now", "help"}
)
_STOPWORDS = frozenset(_COMMON.split())


_T = TypeVar("_T")


class _Lazy(Generic[_T]):
    """A value computed on first use; functools.cached_property without its lock (Python 3.11 takes one per access)."""

    def __init__(self, compute: Callable[[Any], _T]) -> None:
        self._compute = compute
        self._name = compute.__name__

    def __get__(self, owner: Any, kind: type | None = None) -> _T:
        value = self._compute(owner)
        owner.__dict__[self._name] = value
        return value


def stem(word: str) -> str:
    """A crude stem of a lower-case word: `cards` and `card`, `arrival` and `arrived` meet."""
    if len(word) > 3 and word.endswith("s"):
        word = word[:-1]
    return word[:5]


def squeeze(text: str, max_chars: int) -> str:
    """One line of at most `max_chars` characters, cut at a word with an ellipsis."""
    line = " ".join((text if len(text) < 4 * max_chars else text[: 4 * max_chars + 100]).split())
    if len(line) <= max_chars:
        return line
    cut = line[: max(1, max_chars - 1)]
    space = cut.rfind(" ")
    return (cut[:space] if space > max_chars // 2 else cut).rstrip(" ,;:") + "…"


class Reading:
    """A text, read as far as an answer needs it."""

    def __init__(self, text: str) -> None:
        self.text = text

    @classmethod
    def of_prompt(cls, prompt: str) -> "Reading":
        """The text that a prompt is about: leading paragraphs that instruct are left out."""
        text = prompt.strip()
        while (end := text.find("\n\n")) > 0:
            head = text[:end]
            if len(head) > 3000 or not (_INSTRUCTION.match(head) or head.rstrip().endswith(":")):
                break
            text = text[end:].lstrip()
        if lead := _LEAD.match(text):
            text = text[lead.end() :]
        return cls(_MARKER.sub("", text) if "{" in text else text)

    @_Lazy
    def words(self) -> list[str]:
        """Lower-case words of the beginning."""
        return _WORD.findall(self.text[:8000].lower())

    @_Lazy
    def stems(self) -> dict[str, int]:
        """Stem -> how often, of the words that say something."""
        counts: dict[str, int] = {}
        for word in self.words:
            if len(word) > 2 and word not in _STOPWORDS:
                key = stem(word)
                counts[key] = counts.get(key, 0) + 1
        return counts

    @_Lazy
    def alarms(self) -> int:
        """How many words and marks of the beginning sound urgent."""
        return self.text.count("!", 0, 8000) + sum(map(_ALARMING.__contains__, self.words))

    @_Lazy
    def sentences(self) -> list[str]:
        """Non-empty; of a long text, of its first 60,000 characters."""
        parts = (part.strip() for part in _SENTENCE_END.split(self.text[:_LONGEST]))
        return [part for part in parts if part] or [self.text.strip()[:200]]

    @_Lazy
    def tasks(self) -> list[str]:
        """Sentences that say what somebody is to do, the most telling first."""
        found = [sentence for sentence in self.sentences if len(sentence) > 15 and _TASK.search(sentence)]
        return sorted(found, key=self._weight, reverse=True)

    @_Lazy
    def keywords(self) -> list[str]:
        """Frequent long words, most frequent first; not the names of who speaks."""
        speakers = set(_WORD.findall(" ".join(_SPEAKER.findall(self.text[:8000])).lower()))
        counts = Counter(w for w in self.words if len(w) > 3 and w not in _STOPWORDS and w not in speakers)
        return [word for word, _ in counts.most_common(12)]

    def gist(self, max_chars: int = 300, max_sentences: int = 3) -> str:
        """The text itself if it is short, else its most telling sentences in their order."""
        if len(self.text) <= max_chars:
            return " ".join(self.text.split())
        sentences = self.sentences[:: 1 + len(self.sentences) // 400]
        if len(sentences) <= max_sentences:
            return squeeze(self.text, max_chars)
        weights = [self._weight(sentence) for sentence in sentences]
        ranked = sorted(range(len(sentences)), key=lambda i: (-weights[i], i))[:max_sentences]
        return squeeze(" ".join(sentences[i] for i in sorted(ranked)), max_chars)

    def _weight(self, sentence: str) -> float:
        """How much of what the text is about the sentence says; long ones gain little."""
        said = {stem(word) for word in _WORD.findall(_SPEAKER.sub("", sentence[:400]).lower())}
        return sum(math.sqrt(self.stems.get(each, 0)) for each in said) / (len(said) + 8)
