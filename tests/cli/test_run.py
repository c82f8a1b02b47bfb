"""`batch-assets run`, as a user starts it."""

from __future__ import annotations

import csv
import json
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from shell import Answer, Shell

from batch_assets.ledger import Ledger
from batch_assets.storage.local import LocalStore

Here = Callable[[Sequence[str]], Answer]


def test_a_file_becomes_a_typed_table(shell: Shell) -> None:
    answer = shell.call(*shell.arguments("--output", "my_types:Intent", "--max-output-tokens", "50"))
    assert answer.status == 0, answer.stderr
    table = pq.read_table(shell.folder / "out.parquet")
    assert table["id"].to_pylist() == [f"q{number}" for number in range(30)]
    assert pa.types.is_dictionary(table.schema.field("intent").type)
    assert table.schema.field("urgency").type == pa.int64()
    assert set(table["batch_outcome"].to_pylist()) == {"succeeded"}
    for shown in ("rows", "succeeded", "input tokens", "cost", "saved"):
        assert shown in answer.stdout
    assert shell.billed == 30
    assert [file.name for file in shell.folder.iterdir() if file.name.startswith(".")] == []


def test_the_same_command_again_sends_nothing(shell: Shell, here: Here) -> None:
    assert here(shell.arguments("--json")).json["outcomes"] == {"succeeded": 30}
    again = here(shell.arguments("--json"))
    assert again.status == 0
    assert again.json["rows"] == 30
    assert "nothing to send" in again.stderr
    assert shell.billed == 30


def test_a_changed_row_is_bought_alone(shell: Shell, here: Here) -> None:
    assert here(shell.arguments()).status == 0
    rows = [json.loads(line) for line in (shell.folder / "rows.jsonl").read_text().splitlines()]
    rows[7]["text"] = "I want my money back"
    shell.write_rows(rows)
    again = here(shell.arguments("--json"))
    assert again.json["reused"] == 29
    assert shell.billed == 31


def test_without_an_output_type_the_answer_is_text(shell: Shell, here: Here) -> None:
    assert here(shell.arguments("--system", "Be short.")).status == 0
    table = pq.read_table(shell.folder / "out.parquet")
    assert table.schema.field("response").type == pa.string()
    assert all(table["response"].to_pylist())


def test_a_json_schema_and_a_prompt_from_files(shell: Shell, here: Here) -> None:
    schema = {"type": "object", "properties": {"topic": {"type": "string"}, "score": {"type": "number"}}}
    (shell.folder / "topic.json").write_text(json.dumps(schema))
    (shell.folder / "prompt.txt").write_text("Name the topic.\n\n{{ text }}\n")
    assert here(shell.arguments("--schema", "topic.json", "--prompt", "@prompt.txt")).status == 0
    table = pq.read_table(shell.folder / "out.parquet")
    assert [str(table.schema.field(name).type) for name in ("topic", "score")] == ["string", "double"]


@pytest.mark.parametrize("source", ["rows.csv", "rows.tsv", "rows.parquet", "rows.jsonl.gz", "rows.csv.gz"])
def test_every_kind_of_file_gives_the_same_rows(shell: Shell, here: Here, source: str) -> None:
    frame = pd.read_json(shell.folder / "rows.jsonl", lines=True)
    file = shell.folder / source
    if source == "rows.parquet":
        frame.to_parquet(file)
    elif ".jsonl" in source:
        frame.to_json(file, orient="records", lines=True)
    else:
        frame.to_csv(file, index=False, quoting=csv.QUOTE_ALL, sep="\t" if source == "rows.tsv" else ",")
    assert here(shell.arguments()).status == 0
    assert here(shell.arguments(source=source)).status == 0
    assert shell.billed == 30  # the very same requests
    assert pq.read_table(shell.folder / "out.parquet")["text"].to_pylist() == frame["text"].tolist()


@pytest.mark.parametrize(
    ("name", "content"), [("empty.jsonl", ""), ("empty.csv", "id,text\n"), ("empty.parquet", None)]
)
def test_no_rows_make_an_empty_table(shell: Shell, here: Here, name: str, content: str | None) -> None:
    if content is None:
        pq.write_table(
            pa.table({"id": pa.array([], pa.string()), "text": pa.array([], pa.string())}), shell.folder / name
        )
    else:
        (shell.folder / name).write_text(content)
    answer = here(shell.arguments("--json", "--output", "my_types:Intent", source=name))
    assert answer.status == 0, answer.stderr
    table = pq.read_table(shell.folder / "out.parquet")
    assert table.num_rows == 0
    assert {"id", "intent", "urgency", "batch_outcome"} <= set(table.column_names)
    assert shell.billed == 0


def test_over_budget_nothing_is_sent(shell: Shell, here: Here) -> None:
    answer = here(shell.arguments("--max-cost-usd", "0.0001", "--max-output-tokens", "500"))
    assert answer.status == 1
    assert "max_cost_usd" in answer.stderr
    assert not (shell.folder / "out.parquet").exists()
    assert shell.billed == 0
    assert here(shell.arguments("--max-cost-usd", "5", "--max-output-tokens", "500")).status == 0


def wait_until_submitted(store: Path) -> None:
    """Until a shard is at the provider and its account's lease is free."""
    for _ in range(600):
        if (store / "store.json").exists():
            ledger = Ledger.open(LocalStore(store))
            for plan in ledger.open_plans():
                lease = ledger.newest_lease(plan.account)
                shards = ledger.open_shards(plan.account)
                if shards and all(shard.state == "submitted" for shard in shards) and lease and not lease.seconds:
                    return
        time.sleep(0.05)
    raise AssertionError("no shard was submitted within 30 s")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_killed_in_the_middle_and_started_again_it_pays_nothing_twice(shell: Shell, number: signal.Signals) -> None:
    shell.emulator.set_latency(3600)
    first = shell.start(*shell.arguments())
    wait_until_submitted(shell.folder / "store")
    first.send_signal(number)
    said = Shell.end(first)
    if number is signal.SIGKILL:
        assert said.status == -signal.SIGKILL
    else:
        assert said.status == 130
        assert "the same command again" in said.stderr.lower()
    assert not (shell.folder / "out.parquet").exists()
    status = shell.call("status", "--store", "store", "--json").json
    assert [shard["state"] for shard in status["plans"][0]["shards"]] == ["submitted"]
    shell.emulator.advance(3600)
    again = shell.call(*shell.arguments("--json"))
    assert again.status == 0, again.stderr
    assert again.json["outcomes"] == {"succeeded": 30}
    assert shell.billed == 30


def test_one_object_on_stdout_and_all_else_on_stderr(shell: Shell) -> None:
    answer = shell.call(*shell.arguments("--json"))
    assert answer.json["path"] == str(shell.folder / "out.parquet")
    assert answer.json["cost_usd"] > 0
    assert answer.json["saved_usd"] == pytest.approx(answer.json["standard_usd"] - answer.json["cost_usd"])
    assert "30 rows, 30 requests" in answer.stderr
