"""Prompts: what a template may use, what becomes a row's error, and that the fast path equals Jinja byte for byte."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_assets import prompts
from batch_assets.errors import PromptError
from batch_assets.prompts import Prompt


def batch(**columns: object) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict(columns)


def texts(prompt: Prompt, rows: pa.RecordBatch) -> list[str | None]:
    return [None if content is None else orjson.loads(content) for content in prompt.render(rows).contents.to_pylist()]


def test_renders_one_json_string_per_row_in_order() -> None:
    prompt = Prompt("Classify:\n{{ text }}\n")
    rendered = prompt.render(batch(id=[1, 2], text=['say "hi"', "naïve 🙂\n\x00"]))
    assert rendered.contents.to_pylist() == [
        orjson.dumps('Classify:\nsay "hi"'),
        orjson.dumps("Classify:\nnaïve 🙂\n\x00"),
    ]
    assert rendered.errors == {}
    assert prompt.columns == {"text"}


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("a\n{{ text", ["line 2", "unexpected end of template"]),
        ("a\n\n{{ text | shout }}", ["line 3", "shout", "No filter named"]),
        ("{% if text %}a", ["line 1", "endif"]),
        ("a\n{% include 'other' %}", ["line 2", "cannot load"]),
        ("{{ self }}", ["'self'"]),
        ("  \n", ["empty"]),
        ("a \ud800 {{ text }}", ["Unicode"]),
        (3, ["int", "template"]),
    ],
)
def test_what_cannot_be_compiled_is_named(template: Any, words: list[str]) -> None:
    with pytest.raises(PromptError) as caught:
        Prompt(template)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("system", ["You are {{ name }}.", "{% if x %}", "{# note #}", " ", 3, "\ud800"])
def test_system_is_a_constant_text(system: Any) -> None:
    with pytest.raises(PromptError, match="system"):
        Prompt("{{ text }}", system=system)


def test_unknown_columns_are_named_with_the_closest_and_those_that_exist() -> None:
    prompt = Prompt("{{ texxt }} {% for x in tags %}{{ x.name }}{% endfor %} {{ id }}")
    prompt.check(["id", "texxt", "tags"])
    with pytest.raises(PromptError, match=r"unknown column 'texxt' \(did you mean 'text'\?\)\. .*'id', 'text', 'tags'"):
        prompt.check(["id", "text", "tags"])
    with pytest.raises(PromptError, match="unknown columns 'id', 'tags'"):
        prompt.render(batch(texxt=["a"]))


def test_columns_may_bear_the_names_of_jinja_globals() -> None:
    prompt = Prompt("{{ range }}-{{ namespace }}{% if dict %}!{% endif %}")
    assert prompt.columns == {"range", "namespace", "dict"}
    assert texts(prompt, batch(range=["a"], namespace=["b"], dict=["c"])) == ["a-b!"]


@pytest.mark.parametrize("template", ["[{{ x }}]", "[{{ x | upper }}]", "[{{ 'a' ~ x }}]", "[{{ x | length }}]"])
def test_a_null_in_a_used_column_is_an_error_of_the_row(template: str) -> None:
    rendered = Prompt(template).render(batch(x=["a", None, "c"]))
    assert rendered.errors == {1: "column 'x' is null"}
    assert rendered.contents[1].as_py() is None
    assert rendered.contents[0].as_py() is not None
    assert rendered.contents[2].as_py() is not None


@pytest.mark.parametrize(
    "template",
    [
        "[{{ x or '' }}]",
        "[{% if x %}{{ x }}{% endif %}]",
        "[{{ x | default('') }}]",
        "[{% if x is not none %}{{ x }}{% endif %}]",
        "[{% if x != none %}{{ x }}{% endif %}]",
        "[{{ '' if x is none else x }}]",
    ],
)
def test_a_template_may_handle_null(template: str) -> None:
    rows = batch(x=["a", None])
    assert texts(Prompt(template), rows) == ["[a]", "[]"]


def test_nulls_inside_values_and_unknown_attributes_are_errors_of_the_row() -> None:
    rows = batch(m=[{"title": "T"}, {"title": None}, None])
    rendered = Prompt("{{ m.title }}").render(rows)
    assert rendered.contents.to_pylist() == [b'"T"', None, None]
    assert set(rendered.errors) == {1, 2}
    assert "m" in rendered.errors[2]
    rendered = Prompt("{{ m.titel }}").render(rows.slice(0, 1))
    assert "titel" in rendered.errors[0]


def test_an_empty_prompt_is_an_error_of_the_row() -> None:
    for template in ("{{ x }} {{ y }}\n", "{{ x | trim }}{{ y }}"):
        rendered = Prompt(template).render(batch(x=["a", " ", ""], y=["", "", "b"]))
        assert rendered.errors == {1: "the rendered prompt is empty"}


def test_a_template_that_fails_on_a_row_is_an_error_of_that_row() -> None:
    rendered = Prompt("{{ 100 // n }}").render(batch(n=[5, 0]))
    assert rendered.contents.to_pylist() == [b'"20"', None]
    assert "ZeroDivisionError" in rendered.errors[1]
    rendered = Prompt("{{ n.__class__.__mro__ }}").render(batch(n=[5]))
    assert "unsafe" in rendered.errors[0]


def test_values_print_as_jinja_prints_them() -> None:
    when = datetime(2026, 11, 23, tzinfo=UTC)
    rows = batch(
        i=[-5], b=[True], f=[0.5], s=pa.array(["x"]).dictionary_encode(), t=pa.array([when]), l=[["a", "b"]]
    )  # fmt: skip
    assert texts(Prompt("{{ i }} {{ b }} {{ s }}"), rows) == ["-5 True x"]
    assert texts(Prompt("{{ i }} {{ f }} {{ t }} {{ l | join('+') }}"), rows) == [
        "-5 0.5 2026-11-23 00:00:00+00:00 a+b"
    ]


def test_a_template_without_columns_renders_the_same_text_for_every_row() -> None:
    assert texts(Prompt("Tell a joke. 100%"), batch(id=[1, 2])) == ["Tell a joke. 100%"] * 2
    assert Prompt("{{ x }}").render(batch(x=pa.array([], pa.string()))).contents.to_pylist() == []


def shout(row: dict[str, Any]) -> str:
    return f"{row['id']}: {row['text'].upper()}"


def test_a_function_gets_every_column() -> None:
    prompt = Prompt(shout, system="Be brief.")
    assert prompt.columns is None
    assert "upper()" in prompt.text
    assert texts(prompt, batch(id=[1], text=["a"])) == ["1: A"]
    prompt.check([])


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda row: row["nope"], "KeyError: 'nope'"),
        (lambda row: None, "NoneType"),
        (lambda row: [{"type": "text"}], "list"),
        (lambda row: "", "empty"),
        (lambda row: "a\ud800", "surrogate"),
    ],
)
def test_what_a_function_gets_wrong_is_an_error_of_the_row(
    function: Callable[[dict[str, Any]], str], reason: str
) -> None:
    rendered = Prompt(function).render(batch(id=[1]))
    assert rendered.contents.to_pylist() == [None]
    assert reason in rendered.errors[0]


@pytest.mark.parametrize("template", ["{{ x }}", "{{ x | upper }}"])
def test_invalid_utf8_is_an_error_of_the_row(template: str) -> None:
    broken = pa.array([b"good", b"\xff", b"fine"], pa.binary()).cast(pa.string(), safe=False)
    rendered = Prompt(template).render(pa.RecordBatch.from_arrays([broken], ["x"]))
    assert rendered.contents[1].as_py() is None
    assert rendered.errors == {1: "column 'x' is not valid UTF-8 (byte 0)"}


def test_identity_changes_with_text_system_and_kind() -> None:
    kinds = [
        Prompt("{{ a }}"),
        Prompt("{{ b }}"),
        Prompt("{{ a }}", system="s"),
        Prompt(shout),
        Prompt(lambda row: str(row["a"])),
    ]
    assert len({prompt.identity for prompt in kinds}) == len(kinds)
    assert Prompt("{{ a }}").identity == Prompt("{{ a }}").identity


awkward = st.text(st.one_of(st.characters(codec="utf-8"), st.sampled_from('"\\\n\r\t\x00\x1f\x7f%{}🙂 ')), max_size=30)
constant = awkward.map(lambda text: text.replace("{", "(").replace("#", "").replace("\\", "/"))


@given(
    pieces=st.lists(st.one_of(constant, st.sampled_from(["{{ a }}", "{{b}}", "{{ n }}", "{{- a -}}"])), max_size=6),
    rows=st.lists(st.tuples(st.none() | awkward, awkward, st.integers(-(2**63), 2**63 - 1)), min_size=1, max_size=5),
)
def test_the_fast_path_equals_jinja(pieces: list[str], rows: list[tuple[str | None, str, int]]) -> None:
    template = "".join(pieces)
    if not template.strip():
        return
    prompt = Prompt(template)
    a, b, n = zip(*rows, strict=True)
    table = batch(a=pa.array(a, pa.string()), b=pa.array(b, pa.string()), n=pa.array(n, pa.int64()))
    fast = prompt.render(table)
    assert prompt._plain is not None
    prompt._plain = None
    slow = prompt.render(table)
    assert fast == slow


def test_a_plain_template_does_not_enter_jinja_per_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompts, "_render_rows", None)
    assert texts(Prompt("a{# b #}{% raw %}{{ c }}{% endraw %}{{ x }}"), batch(x=["y"])) == ["a{{ c }}y"]
