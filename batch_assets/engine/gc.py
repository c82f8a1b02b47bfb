"""Remove what nobody needs any more: uploaded input files, drafts without a plan, old plans that were replaced.

What is kept whatever its age: everything of an open plan, of a plan that somebody waits for, and of the newest plan of
each partition, since its results are what a repeated night does not buy again.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from batch_assets.encoding import decode, encode_key
from batch_assets.engine.lease import hold_account
from batch_assets.errors import Transient
from batch_assets.lifecycle import TERMINAL, State
from batch_assets.records import PlanRecord, ShardSpec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from batch_assets.ledger import Ledger
    from batch_assets.providers.protocol import Provider
    from batch_assets.records import PlanRef
    from batch_assets.storage.protocol import StoredObject

_NEEDS_INPUT = frozenset({State.SUBMITTING, State.AMBIGUOUS, State.SUBMITTED, State.CANCELING, State.ENDED})
DAY_SECONDS = 86_400.0


@dataclass(slots=True)
class Removed:
    """What was removed, or would be."""

    plans: list[PlanRef] = field(default_factory=list)
    drafts: list[str] = field(default_factory=list)
    """Folders of drafts that no plan names."""
    shards: list[str] = field(default_factory=list)
    input_files: list[str] = field(default_factory=list)
    """At the provider."""
    objects: int = 0
    size_bytes: int = 0


def remove_input_files(ledger: Ledger, provider: Provider, removed: Removed, *, dry_run: bool = False) -> None:
    """Delete the account's uploaded input files that no submission of this ledger needs.

    Under the account's lease: nobody is between an upload and its intent meanwhile. A file that bears the name of no
    shard of this ledger is left alone. Raises Transient if another process works for the account.
    """
    with hold_account(ledger, provider.account) as lease:
        if lease is None:
            raise Transient(f"another run works for {provider.account}; its input files are left for the next time")
        for file in provider.input_files():
            shard = ledger.find_shard(provider.account, file.name.removesuffix(".jsonl"))
            if shard is None or (shard.state in _NEEDS_INPUT and shard.last.input_file == file.file_id):
                continue
            lease.renew()
            removed.input_files.append(file.file_id)
            if not dry_run:
                provider.delete_input(file.file_id)


def remove_old_plans(ledger: Ledger, removed: Removed, *, older_seconds: float, dry_run: bool = False) -> None:
    """Delete plans, drafts and shards that were replaced or abandoned longer ago than `older_seconds`.

    A result that only such a plan has is bought again if its request ever returns. A plan's record goes first, what it
    names after it: a process that dies between leaves files without a plan, which the next time removes.
    """
    sweep = _Sweep(ledger, removed, older_seconds, dry_run)
    sweep.partitions()
    sweep.shards_without_plan()


class _Sweep:
    def __init__(self, ledger: Ledger, removed: Removed, older_seconds: float, dry_run: bool) -> None:
        self._ledger, self._removed = ledger, removed
        self._older_seconds, self._dry_run = older_seconds, dry_run
        self._root = encode_key(ledger.namespace)
        self._kept: set[PlanRef] = set()

    def partitions(self) -> None:
        """The replaced plans of each partition, and the drafts that none of the others names."""
        plans: dict[str, list[StoredObject]] = defaultdict(list)
        drafts: dict[str, dict[str, list[StoredObject]]] = defaultdict(lambda: defaultdict(list))
        for entry in self._ledger.store.list(f"{self._root}/assets"):
            asset, partition, kind, _ = entry.path.removeprefix(f"{self._root}/assets/").split("/", 3)
            if kind == "plans":
                plans[f"{asset}/{partition}"].append(entry)
            elif kind == "drafts":
                place = entry.path.rpartition("/")[0]
                drafts[f"{asset}/{partition}"][place].append(entry)
        waited_for = {ref for wait in self._ledger.waits() for ref in wait.plans}
        for folder in {**plans, **drafts}:
            named = self._plans(plans[folder], waited_for)
            for place, entries in drafts[folder].items():
                if place not in named and self._is_old(entries):
                    self._removed.drafts.append(place)
                    self._delete(entries)

    def _plans(self, entries: list[StoredObject], waited_for: set[PlanRef]) -> set[str]:
        """Remove those of a partition that may go; returns the drafts that the others name."""
        ledger = self._ledger
        found = [(entry, decode(PlanRecord, ledger.store.read(entry.path), entry.path)) for entry in entries]
        found.sort(key=lambda pair: pair[1].ref.generation)
        any_open = bool(found and ledger.open_generations(found[0][1].ref.asset, found[0][1].ref.partition))
        drafts = set()
        for entry, plan in found:
            newest = plan is found[-1][1]
            if any_open or newest or plan.ref in waited_for or not self._is_old([entry]):
                self._kept.add(plan.ref)
                drafts.add(plan.draft)
            else:
                self._removed.plans.append(plan.ref)
                self._delete([entry])
        return drafts

    def shards_without_plan(self) -> None:
        """Shards whose plan is gone. One that is not terminal is never touched."""
        shards: dict[str, list[StoredObject]] = defaultdict(list)
        for entry in self._ledger.store.list(f"{self._root}/accounts"):
            account, kind, shard_id, *_ = entry.path.removeprefix(f"{self._root}/accounts/").split("/")
            if kind == "shards":
                shards[f"{self._root}/accounts/{account}/shards/{shard_id}"].append(entry)
        for folder, entries in shards.items():
            if not self._is_old(entries):
                continue
            try:
                spec = decode(ShardSpec, self._ledger.store.read(f"{folder}/spec.json"), folder)
            except FileNotFoundError:
                continue
            shard = self._ledger.find_shard(spec.account, spec.shard_id)
            if spec.plan in self._kept or (shard is not None and shard.state not in TERMINAL):
                continue
            self._removed.shards.append(spec.shard_id)
            self._delete(entries)  # its specification is the last in their order

    def _is_old(self, entries: Iterable[StoredObject]) -> bool:
        return all(self._ledger.age_seconds(entry.created_at) > self._older_seconds for entry in entries)

    def _delete(self, entries: Iterable[StoredObject]) -> None:
        for entry in entries:
            self._removed.objects += 1
            self._removed.size_bytes += entry.size_bytes
            if not self._dry_run:
                self._ledger.store.delete(entry.path)
