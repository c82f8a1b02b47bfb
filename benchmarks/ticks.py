"""What a tick of both sensors costs: many open batches of four providers, then few beside many settled nights."""

from __future__ import annotations

import logging
import tempfile
import time
import warnings
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster._daemon.types import DaemonHeartbeat
from rich.console import Console
from rich.table import Table

from batch_assets.dagster import (
    AnthropicBatchResource,
    BatchStore,
    GeminiBatchResource,
    MistralBatchResource,
    OpenAIBatchResource,
    batch_asset,
    batch_definitions,
)
from batch_assets.emulator import SpawnedEmulator
from batch_assets.engine import advance_account
from batch_assets.storage.local import LocalStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from batch_assets.storage.protocol import ObjectStore, StoredObject

MODELS = {
    "anthropic": "claude-haiku-4-5",
    "gemini": "gemini-2.5-flash",
    "mistral": "mistral-small-latest",
    "openai": "gpt-5-mini",
}
SHARES = {"anthropic": 0.3, "gemini": 0.1, "mistral": 0.3, "openai": 0.3}
"""Of the open batches; Gemini documents a limit of 100 at a time."""
_DAY = 90_000.0
_CALLS: Counter[str] = Counter()


class _Counted(LocalStore):
    """A folder that counts what is asked of it."""

    def read(self, path: str) -> bytes:
        _CALLS["read"] += 1
        return super().read(path)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        _CALLS["list"] += 1
        return super().list(prefix)

    def write_new(self, path: str, data: bytes) -> bool:
        _CALLS["write"] += 1
        return super().write_new(path, data)

    def now(self) -> datetime:
        _CALLS["now"] += 1
        return super().now()


class _CountedStore(BatchStore):
    """The resource over it."""

    def object_store(self) -> ObjectStore:
        return _Counted(str(self.root))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """One sensor's."""

    sensor: str
    seconds: float
    cpu_seconds: float
    provider_calls: int
    store_calls: int
    runs: int
    """Requested."""


@dataclass(slots=True)
class Deployment:
    """An instance, a code location, an emulator."""

    emulator: SpawnedEmulator
    instance: dg.DagsterInstance
    definitions: dg.Definitions
    cursors: dict[str, str | None] = field(default_factory=dict)

    def night(self, provider: str, first: str, last: str) -> None:
        """One run of a provider's asset over a range of nights."""
        self.instance.add_daemon_heartbeat(DaemonHeartbeat(time.time(), "SENSOR", None, None))
        names = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
        job = self.definitions.resolve_implicit_global_asset_job_def()
        result = job.execute_in_process(
            instance=self.instance,
            asset_selection=[dg.AssetKey(provider + "_asset")],
            tags=dict(zip(names, (first, last), strict=True)),
        )
        assert result.success

    def tick(self, name: str) -> Tick:
        """Evaluate a sensor once, as its daemon does."""
        repository = self.definitions.get_repository_def()
        sensor = repository.get_sensor_def(name)
        context = dg.build_sensor_context(
            instance=self.instance, repository_def=repository, cursor=self.cursors.get(name), sensor_name=name
        )
        _CALLS.clear()
        watched = self.emulator.arm("refused", operation="*", after=1_000_000_000)
        started, cpu = time.perf_counter(), time.process_time()
        found = sensor.evaluate_tick(context)
        seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu
        (calls,) = [fault["seen"] for fault in self.emulator.faults() if fault["id"] == watched]
        self.emulator.clear_faults()
        self.cursors[name] = found.cursor
        return Tick(
            sensor=name,
            seconds=seconds,
            cpu_seconds=cpu_seconds,
            provider_calls=calls,
            store_calls=sum(_CALLS.values()),
            runs=len(found.run_requests or ()),
        )

    def settle(self, store: BatchStore, resources: Mapping[str, Any], nights: Mapping[str, int]) -> None:
        """Let the batches end, harvest them, land the tables, end the waits."""
        self.emulator.advance(_DAY)
        for name in MODELS:
            advance_account(store.ledger(), resources[name].provider(name))
        for name, count in nights.items():
            self.night(name, "0000", f"{count - 1:04}")
        for wait in store.ledger().waits():
            store.ledger().end_wait(wait.wait_id)


def definitions(resources: Mapping[str, Any], nights: int) -> dg.Definitions:
    """A batch asset for each provider, with so many nights and some more."""
    days = dg.StaticPartitionsDefinition([f"{night:04}" for night in range(nights + 100)])
    assets = []
    for name, model in MODELS.items():

        @batch_asset(
            name=f"{name}_asset",
            provider=name,
            model=model,
            prompt="Summarize: {{ text }}",
            output_type=str,
            row_key="id",
            max_output_tokens=50,
            partitions_def=days,
            backfill_policy=dg.BackfillPolicy.single_run(),
        )
        def rows() -> Iterator[dict[str, str]]:
            yield {"id": "1", "text": "The card has not arrived."}

        assets.append(rows)
    return batch_definitions(assets=assets, resources=resources, executor=dg.in_process_executor)


@contextmanager
def deployment(folder: Path, emulator: SpawnedEmulator, nights: int) -> Iterator[tuple[Deployment, dict[str, Any]]]:
    """Everything, in `folder`."""
    address = emulator.addresses
    resources = {
        "openai": OpenAIBatchResource(api_key="bench", base_url=address["openai"]),
        "anthropic": AnthropicBatchResource(api_key="bench", base_url=address["anthropic"]),
        "gemini": GeminiBatchResource(api_key="bench", base_url=address["gemini"]),
        "mistral": MistralBatchResource(api_key="bench", server_url=address["mistral"]),
        "batch_store": _CountedStore(root=str(folder / "store")),
    }
    (folder / "home").mkdir()
    with dg.DagsterInstance.local_temp(str(folder / "home")) as instance:
        yield Deployment(emulator, instance, definitions(resources, nights)), resources


def main(open_batches: int = 1_000, few: int = 10) -> None:
    """Print a table of the ticks."""
    warnings.simplefilter("ignore")
    logging.disable(logging.INFO)
    nights = {name: round(open_batches * share) for name, share in SHARES.items()}
    most = max(nights.values())
    each = ", ".join(f"{name} {count}" for name, count in nights.items())
    table = Table(title=f"ticks; {open_batches:,} batches: {each}", title_justify="left")
    for column in (
        "open batches",
        "settled nights",
        "sensor",
        "seconds",
        "CPU seconds",
        "provider calls",
        "store calls",
        "runs requested",
    ):
        table.add_column(column, justify="left" if column == "sensor" else "right")

    def measured(deployed: Deployment, opened: int, settled: int) -> None:
        for sensor in ("batch_poll", "batch_resume"):
            tick = deployed.tick(sensor)
            numbers = (tick.provider_calls, tick.store_calls, tick.runs)
            counts = [f"{number:,}" for number in numbers]
            table.add_row(
                f"{opened:,}", f"{settled:,}", sensor, f"{tick.seconds:.2f}", f"{tick.cpu_seconds:.2f}", *counts
            )

    with tempfile.TemporaryDirectory() as name, SpawnedEmulator(latency_seconds=_DAY - 1_000) as emulator:
        folder = Path(name)
        for settled in (0, open_batches):
            (folder / str(settled)).mkdir()
            with deployment(folder / str(settled), emulator, most) as (deployed, resources):
                store = resources["batch_store"]
                if settled:
                    for provider, count in nights.items():
                        deployed.night(provider, "0000", f"{count - 1:04}")
                    measured(deployed, open_batches, 0)
                    deployed.settle(store, resources, nights)
                deployed.night("openai", f"{most:04}", f"{most + few - 1:04}")
                measured(deployed, few, settled)
    Console(width=140).print(table)


if __name__ == "__main__":
    import sys

    main(*(int(one) for one in sys.argv[1:]))
