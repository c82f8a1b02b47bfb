"""`batch-assets status` and `batch-assets emulator`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from urllib.request import urlopen

from shell import Answer, Shell

Here = Callable[[Sequence[str]], Answer]


def test_open_and_settled_plans_are_shown(shell: Shell, here: Here) -> None:
    assert here(shell.arguments()).status == 0
    assert here(shell.arguments("--max-cost-usd", "0.00001", output="other.parquet")).status == 1
    found = here(["status", "--store", "store", "--json"]).json
    assert {(plan["state"], plan["results"]) for plan in found["plans"]} == {("refused", 0), ("settled", 30)}
    settled = next(plan for plan in found["plans"] if plan["state"] == "settled")
    (shard,) = settled["shards"]
    assert shard["state"] == "harvested"
    assert shard["batch_id"].startswith("batch_")
    assert 0 <= shard["age_seconds"] < 60
    shown = here(["status", "--store", "store"]).stdout
    for words in ("settled", "refused", "30 of 30", shard["shard_id"]):
        assert words in shown
    assert here(["status", "--store", "store", "--open", "--json"]).json["plans"] == []


def test_another_namespace_is_empty(shell: Shell, here: Here) -> None:
    assert here(shell.arguments()).status == 0
    answer = here(["status", "--store", "store", "--namespace", "prod"])
    assert answer.status == 0
    assert "'prod'" in answer.stdout


def test_a_folder_without_a_store_is_not_made_one(shell: Shell, here: Here) -> None:
    answer = here(["status", "--store", "nowhere"])
    assert answer.status == 1
    assert "there is no store in nowhere" in answer.stderr
    assert not (shell.folder / "nowhere").exists()


def test_the_emulator_says_where_it_listens(shell: Shell) -> None:
    process = shell.start("emulator", "--port", "0", "--state", "state", "--latency", "0")
    try:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        with urlopen(f"{url}/_emulator/bill") as answer:
            assert json.load(answer) == {}
    finally:
        process.terminate()
        said = Shell.end(process)
    assert said.status == 0
    assert (shell.folder / "state").is_dir()
