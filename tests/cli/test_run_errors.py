"""What bad input gets: one line that names the culprit, status 1, and nothing sent."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from shell import Answer, Shell

Here = Callable[[Sequence[str]], Answer]


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        (["--row-key", "identity"], ["'identity'", "['id', 'text']"]),
        (["--prompt", "{{ txt }}"], ["'txt'", "did you mean 'text'", "'id', 'text'"]),
        (["--prompt", "a\n{% if text %}"], ["line 2"]),
        (["--prompt", "@missing.txt"], ["missing.txt"]),
        (["--provider", "opnai"], ["'opnai'", "'openai'"]),
        (["--output", "my_types:Loose"], ["anything"]),
        (["--output", "my_types:Nothing"], ["my_types", "'Nothing'"]),
        (["--output", "my_types:NOT_A_TYPE"], ["is a int"]),
        (["--output", "no_such_module:T"], ["no_such_module"]),
        (["--output", "nonsense"], ["module:Type"]),
        (["--schema", "rows.jsonl"], ["is not JSON"]),
        (["--schema", "missing.json"], ["missing.json"]),
        (["--store", "/proc/nowhere"], ["/proc/nowhere", "cannot be written"]),
    ],
)
def test_a_wrong_option_is_named(shell: Shell, here: Here, extra: list[str], said: list[str]) -> None:
    refused(here(shell.arguments(*extra)), shell, said)


def refused(answer: Answer, shell: Shell, said: Sequence[str]) -> None:
    assert answer.status == 1
    assert answer.stdout == ""
    (line,) = [line for line in answer.stderr.splitlines() if line.strip()]
    assert line.startswith("batch-assets: ")
    for words in said:
        assert words in line
    assert shell.billed == 0
    assert not (shell.folder / "out.parquet").exists()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (
            "twice.jsonl",
            '{"id":"a","text":"x"}\n{"id":"b","text":"y"}\n{"id":"a","text":"z"}\n',
            ["'a' in rows 0 and 2"],
        ),
        ("null.jsonl", '{"id":"a","text":"x"}\n{"id":null,"text":"y"}\n', ["1 rows have no key (row 1)"]),
        ("none.csv", "id,text\na,x\n,y\n", ["1 rows have no key (row 1)"]),
        ("torn.jsonl", '{"id":"a","text":"x"}\n{"id":"b","te\n', ["torn.jsonl, line 2, is not JSON"]),
        ("list.jsonl", '["a"]\n', ["line 1, is a list"]),
        ("types.jsonl", '{"id":"a","text":"x"}\n{"id":"b","text":{"y":1}}\n', ["'text'", "several types"]),
        ("same.csv", "id,text,text\na,x,y\n", ["several columns", "'text'"]),
        ("ragged.csv", "id,text\na,x,y\n", ["ragged.csv cannot be read"]),
        ("zero.csv", "", ["zero.csv is empty"]),
        ("not.parquet", "PAR?", ["not.parquet cannot be read"]),
        ("clash.jsonl", '{"id":"a","text":"x","urgency":3}\n', ["urgency"]),
        ("rows.xlsx", "", ["'.xlsx'", ".parquet"]),
    ],
)
def test_wrong_rows_are_named(shell: Shell, here: Here, name: str, content: str, said: list[str]) -> None:
    (shell.folder / name).write_text(content)
    refused(here(shell.arguments("--output", "my_types:Intent", source=name)), shell, said)


def test_a_file_that_is_not_there(shell: Shell, here: Here) -> None:
    refused(here(shell.arguments(source="nowhere.csv")), shell, ["there is no file nowhere.csv"])


@pytest.mark.parametrize(
    ("output", "said"),
    [("out.csv", "ends in .parquet"), ("no/such/out.parquet", "there is no folder"), ("rows.parquet", "is the input")],
)
def test_an_output_that_cannot_be_written(shell: Shell, here: Here, output: str, said: str) -> None:
    refused(here(shell.arguments(source="rows.parquet", output=output)), shell, [said])


def test_no_api_key(shell: Shell, here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    refused(here(shell.arguments()), shell, ["no API key", "OPENAI_API_KEY"])


def test_a_corrupt_object_in_the_store_is_named_and_left_alone(shell: Shell, here: Here) -> None:
    assert here(shell.arguments()).status == 0
    (plan,) = (shell.folder / "store").rglob("plans/*.json")
    plan.write_text("{")
    answer = here(shell.arguments())
    assert answer.status == 1
    assert "000001.json" in answer.stderr
    assert "left as it is" in answer.stderr
    assert plan.read_text() == "{"


def test_wrong_usage_is_status_2(shell: Shell) -> None:
    for arguments in ([], ["run"], shell.arguments("--max-cost-usd", "much"), ["fly"]):
        answer = shell.call(*arguments)
        assert answer.status == 2
        assert "usage: batch-assets" in answer.stderr
