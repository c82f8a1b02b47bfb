"""Whole nights of the engine with a provider: every row once, nothing paid for twice."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batch_assets.engine import AssetSpec, collect, plan_partition, submit_waiting, wait_for
from batch_assets.errors import Transient
from batch_assets.ledger import Ledger
from batch_assets.prompts import Prompt
from batch_assets.provider_contract.contract import SCHEMA, Bench, Contract
from batch_assets.provider_contract.requests import ODD_TEXTS
from batch_assets.records import Landing, PlanRecord
from batch_assets.schema import OutputSchema
from batch_assets.storage.local import LocalStore
from batch_assets.tables import TableStore
from batch_assets.timing import Timing

_TIMING = Timing(queue_wait_seconds=0.05, blocked_seconds=0.05, longest_wait_seconds=0.1)
_ROWS = 40


@dataclass(slots=True)
class Nights:
    """One deployment: a store, tables, an account."""

    bench: Bench
    folder: Path
    timing: Timing = _TIMING
    prompt: Prompt = field(default_factory=lambda: Prompt("{{ text }}"))
    ledger: Ledger = field(init=False)
    log: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.ledger = Ledger.open(LocalStore(self.folder / "store"), timing=self.timing)
        self.bench.provider.listing_grace_seconds = 0.3

    def plan(
        self,
        texts: list[str],
        partition: str = "one",
        *,
        keys: list[str] | None = None,
        asset: str = "contract",
        **more: Any,
    ) -> PlanRecord:
        """The plan of a night with these texts; `keys` name the rows, else they are counted."""
        schema = OutputSchema.from_json_schema(SCHEMA, name="answer")
        request = self.bench.request(json_schema=schema.json_schema, schema_name=schema.name)
        spec = AssetSpec(
            asset=asset,
            provider=self.bench.provider.name,
            request=request,
            prompt=self.prompt,
            schema=schema,
            row_key="id",
            **more,
        )
        rows = pa.table({"id": pa.array(keys if keys is not None else range(len(texts))), "text": texts})
        return plan_partition(self.ledger, self.bench.provider, spec, partition, rows.to_batches())

    def land(self, plan: PlanRecord) -> tuple[Landing, list[dict[str, Any]]]:
        """Send it, wait for it, and land its table; the table's rows."""
        provider, log = self.bench.provider, self.log.append
        try:
            submit_waiting(self.ledger, provider, log=log)
        except Transient as error:  # the next advance sends it
            log(str(error))
        (status,) = wait_for(self.ledger, provider, [plan.ref], interval_seconds=0.05, timeout_seconds=20, log=log)
        assert status.settled, (status, self.log)
        landing = collect(self.ledger, TableStore(self.folder / "tables"), plan.ref)
        return landing, pq.read_table(landing.path, partitioning=None).to_pylist()


class NightsContract(Contract):
    """Of whole nights."""

    @pytest.fixture
    def nights(self, bench: Bench, tmp_path: Path) -> Nights:
        """A deployment without history."""
        return Nights(bench, tmp_path)

    def check_a_night(self, nights: Nights) -> None:
        """One night is what it is without faults: every row right, every request billed once."""
        texts = [f"message number {i}: where is my card?" for i in range(_ROWS)]
        landing, rows = nights.land(nights.plan(texts))
        assert [row["id"] for row in rows] == list(range(_ROWS))
        assert [row["text"] for row in rows] == texts
        assert landing.outcomes == {"succeeded": _ROWS}, nights.log
        assert {row["intent"] for row in rows} <= set(SCHEMA["properties"]["intent"]["enum"])
        bill = nights.bench.bill
        assert (bill["requests"], bill["surplus"]) == (_ROWS, 0)
        assert sum(row["batch_input_tokens"] for row in rows) == bill["input_tokens"]
        assert sum(row["batch_output_tokens"] for row in rows) == bill["output_tokens"]
        assert landing.cost_usd is None or landing.cost_usd > 0
        assert nights.ledger.open_shards(nights.bench.provider.account) == []

    def test_rows_that_cannot_be_answered(self, nights: Nights) -> None:
        nights.bench.emulator.arm("request_error", contains="text 3", status=400, message="It is wrong.", times=9)
        nights.bench.emulator.arm("refusal", contains="text 5", times=9)
        nights.bench.emulator.arm("invalid_json", contains="text 7", times=9)
        landing, rows = nights.land(nights.plan([f"text {i}" for i in range(10)]))
        assert landing.outcomes == {"succeeded": 7, "errored": 2, "invalid": 1}
        assert "It is wrong." in rows[3]["batch_error"]
        assert rows[5]["batch_error"]
        assert rows[7]["batch_attempts"] == 3

    def test_odd_texts_through_the_night(self, nights: Nights) -> None:
        landing, rows = nights.land(nights.plan(ODD_TEXTS))
        assert landing.outcomes == {"succeeded": len(ODD_TEXTS)}
        assert [row["text"] for row in rows] == ODD_TEXTS

    def test_odd_names_of_rows_partitions_and_assets(self, nights: Nights) -> None:
        keys = [*ODD_TEXTS[:-1], "", "x" * 2_000, "a/b|c=d", "../..", "-", "0"]
        texts = [f"text {i}" for i in range(len(keys))]
        partition, asset = "día 1\n/../2|ü 🙂", "ünder/the \n sea"
        landing, rows = nights.land(nights.plan(texts, partition, keys=keys, asset=asset))
        assert landing.outcomes == {"succeeded": len(keys)}, nights.log
        assert [(row["id"], row["text"]) for row in rows] == list(zip(keys, texts, strict=True))
        assert nights.bench.bill["requests"] == len(keys)

    def test_rounds_of_attempts_end(self, nights: Nights) -> None:
        arm = nights.bench.emulator.arm
        for number, times in ((1, 1), (2, 2), (3, 9)):
            arm("request_error", contains=f"number {number}:", status=500, times=times)
        landing, rows = nights.land(nights.plan([f"number {i}: where is my card?" for i in range(6)]))
        assert landing.outcomes == {"succeeded": 5, "errored": 1}, nights.log
        assert [row["batch_attempts"] for row in rows] == [1, 2, 3, 3, 1, 1]
        assert [row["batch_outcome"] == "errored" for row in rows] == [number == 3 for number in range(6)]
        assert landing.attempts == 6 + 3 + 2
        assert (nights.bench.bill["requests"], nights.bench.bill["surplus"]) == (5, 0)

    def test_a_row_exactly_at_the_limit_of_a_request_and_one_byte_above(self, nights: Nights) -> None:
        provider = nights.bench.provider
        overhead_bytes = provider.envelope(nights.plan(["text"]).request).overhead_bytes
        provider.limits = replace(provider.limits, max_request_bytes=overhead_bytes + 400)
        fits = "ü" * 198 + "  "  # 398 bytes and the quotes
        landing, rows = nights.land(nights.plan([fits, f"{fits}x", "small"], "two"))
        assert landing.outcomes == {"succeeded": 2, "errored": 1}
        assert "401 bytes, and the provider takes 400" in rows[1]["batch_error"]

    def test_one_request_more_than_a_batch_takes(self, nights: Nights) -> None:
        provider, emulator = nights.bench.provider, nights.bench.emulator
        provider.limits = replace(provider.limits, max_requests=5)
        emulator.set_limits(nights.bench.emulated, max_requests=5)
        for count, expected in ((5, [5]), (6, [5, 1])):
            plan = nights.plan([f"text {count} {i}" for i in range(count)], str(count))
            assert [shard.requests for shard in plan.shards] == expected
            landing, _ = nights.land(plan)
            assert landing.outcomes == {"succeeded": count}

    def test_shards_are_cut_exactly_at_the_limits(self, nights: Nights) -> None:
        provider, emulator, emulated = nights.bench.provider, nights.bench.emulator, nights.bench.emulated
        texts = [f"text {i:03}" for i in range(20)]
        provider.limits = replace(provider.limits, max_requests=10)
        emulator.set_limits(emulated, max_requests=10)
        plan = nights.plan(texts)
        assert [shard.requests for shard in plan.shards] == [10, 10]
        nights.land(plan)
        line_bytes = provider.envelope(plan.request).overhead_bytes + len(orjson.dumps(texts[0]))
        for spare, expected in ((0, [5, 5, 5, 5]), (-1, [4, 4, 4, 4, 4])):
            most = 5 * line_bytes + spare
            provider.limits = replace(provider.limits, max_bytes=most, max_request_bytes=most)
            emulator.set_limits(emulated, max_bytes=most + self.frame_bytes)
            plan = nights.plan([f"{text[:-3]}{i + 100 * abs(spare) + 200:03}" for i, text in enumerate(texts)], "two")
            assert [shard.requests for shard in plan.shards] == expected
            landing, _ = nights.land(plan)
            assert landing.outcomes == {"succeeded": 20}

    def test_an_earlier_night_is_not_bought_again(self, nights: Nights) -> None:
        nights.land(nights.plan([f"text {i}" for i in range(20)]))
        landing, rows = nights.land(nights.plan([f"text {i}" for i in range(25)]))
        assert (landing.reused, len(rows)) == (20, 25)
        assert nights.bench.bill["requests"] == 25
