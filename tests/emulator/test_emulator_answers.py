"""Answers that fit their schema and make some sense."""

import json
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from openai.lib._pydantic import to_strict_json_schema
from pydantic import BaseModel, Field

from batch_assets.emulator import tokens
from batch_assets.emulator.answers import answer_json, answer_text, violating
from batch_assets.emulator.labels import LabelIndex
from batch_assets.emulator.reading import Reading

MEETING = """Ann: Good morning. Let's look at the budget of the remote control project.
Bob: I think the battery is too expensive. We should look for a cheaper supplier.
Ann: Okay. Bob will call three suppliers by Friday.
Carla: The case is fine, but I need to redo the drawings of the buttons.
Ann: Great, then we are done. The weather is nice today.
"""


class Mood(Enum):
    good = "good"
    bad = "bad"


class Item(BaseModel):
    owner: str
    task: str
    due: date | None


class Node(BaseModel):
    name: str
    children: list["Node"]
    parent: "Node | None"


class Everything(BaseModel):
    intent: Literal["lost_card", "refund_request", "other"]
    mood: Mood
    urgency: int = Field(ge=1, le=5)
    score: Annotated[float, Field(gt=0, lt=1)]
    ten: int = Field(description="a rating from 3 to 7")
    even: int = Field(ge=1, le=9, multiple_of=2)
    confident: bool
    reason: str = Field(max_length=40)
    code: str = Field(pattern=r"^[A-Z]{3}$")
    amount: Decimal
    when: datetime
    day: date
    id: UUID
    note: str | None
    nothing: None
    items: list[Item] = Field(min_length=1, max_length=2)
    tags: list[Literal["card", "budget", "weather"]]
    either: int | str
    tree: Node
    fixed: Literal[7]


def ask(kind: Any, text: str) -> Any:
    schema = json.dumps(to_strict_json_schema(kind)).encode()
    return kind.model_validate_json(answer_json(schema, text))


@pytest.mark.parametrize(
    "text", ["", "x", "I lost my card!", MEETING, "中文消息，请帮忙。", "🙂" * 50, "a\n\n\nb" * 5000]
)
def test_every_kind_of_field_fits(text: str) -> None:
    answer = ask(Everything, text)
    assert 3 <= answer.ten <= 7
    assert answer == ask(Everything, text)


def test_the_closest_label() -> None:
    labels = LabelIndex(["card_arrival", "lost_or_stolen_card", "exchangeRate", "cancel_transfer", "other"])
    expected = {
        "When will my new card arrive?": "card_arrival",
        "My card was stolen!": "lost_or_stolen_card",
        "what exchange rates do you use": "exchangeRate",
        "please cancel the transfer": "cancel_transfer",
        "how is the weather": "other",
    }
    assert {text: labels.closest(Reading(text)) for text in expected} == expected


def test_instructions_are_not_the_text() -> None:
    prompt = "Classify the message as refund or lost card.\n\nMessage: the weather is fine"
    assert Reading.of_prompt(prompt).text == "the weather is fine"
    assert Reading.of_prompt("Summarize this meeting:\n\n" + MEETING).text == MEETING.strip()
    assert Reading.of_prompt(MEETING).text == MEETING.strip()


def test_a_meeting_is_summarized_with_its_action_items() -> None:
    class Summary(BaseModel):
        summary: str
        action_items: list[str]
        owners: list[Item]

    answer = ask(Summary, "Summarize the meeting.\n\n" + MEETING)
    assert any("Bob will call three suppliers" in item for item in answer.action_items)
    assert not any("weather" in item for item in answer.action_items)
    assert 20 < len(answer.summary) <= 400
    assert answer_text("Summarize the meeting.\n\n" + MEETING)


def test_urgency_follows_the_text() -> None:
    class Ticket(BaseModel):
        urgency: int = Field(ge=1, le=5)

    calm, alarmed = "what are your opening hours", "My card was stolen, block it immediately, this is urgent!"
    assert ask(Ticket, calm).urgency < ask(Ticket, alarmed).urgency == 5


def test_a_violation_is_json_that_does_not_fit() -> None:
    schema = json.dumps(to_strict_json_schema(Item)).encode()
    with pytest.raises(ValueError, match="owner"):
        Item.model_validate_json(violating(schema, MEETING))


def test_schemas_without_types_and_unknown_references() -> None:
    assert isinstance(json.loads(answer_json(b"{}", MEETING)), str)
    assert json.loads(answer_json(b'{"properties": {"a": {}}, "required": ["a"]}', "hello")) == {"a": "hello"}
    with pytest.raises(ValueError, match="unknown reference"):
        answer_json(b'{"$ref": "#/$defs/none"}', MEETING)


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("", 0, 0),
        ("I lost my card.", 4, 6),
        ("2026-11-23", 5, 7),
        ("中文消息", 4, 4),
        ("straße über", 2, 2),
        ("🙂", 1, 1),
    ],
)
def test_tokens(text: str, low: int, high: int) -> None:
    assert low <= tokens.count(text) <= high
    assert tokens.count_repeated(text) == tokens.count(text)


def test_cutting_at_a_token() -> None:
    assert tokens.cut("one two three", 2) == "one two"
    assert tokens.cut("one two three", 3) == "one two three"
