"""The durable record of plans, shards and submissions: a journal of created-once objects in the store.

    store.json                                                        format, store id
    {namespace}/assets/{asset}/{partition}/plans/{g}.json             the plan of a generation; the highest is current
    {namespace}/assets/{asset}/{partition}/drafts/{draft}/...         its files, under a random name
    {namespace}/open/{asset}/{partition}/{g}.planned.json             marker: that generation is not settled
    {namespace}/open/{asset}/{partition}/{g}.opened.json              marker: all its shards have been opened
    {namespace}/open/{asset}/{partition}/{g}.canceled.json            marker: nothing more of it is sent
    {namespace}/accounts/{account}/open/{shard}.json                  marker: that shard is not terminal
    {namespace}/accounts/{account}/shards/{shard}/spec.json           what it is
    {namespace}/accounts/{account}/shards/{shard}/journal/{N}.json   number N can be taken once, by any state
    {namespace}/accounts/{account}/shards/{shard}/files/...           results, and the requests of later rounds
    {namespace}/accounts/{account}/batches/{batch}.json               one batch, one owner
    {namespace}/accounts/{account}/batches/{batch}.surplus.json       we cancel it, and still want its requests
    {namespace}/accounts/{account}/lease/{n}.json                     who works for the account
    {namespace}/waits/{wait}.json                                     who waits for plans
    {namespace}/calibrations/{asset}/{code version}.json              how far off the estimate of the first night was

A marker is written before what it marks and deleted after that is over: a tick lists what is open, not history.
"""

from __future__ import annotations

import secrets
import time
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from batch_assets.encoding import Record, decode, encode, encode_key, leaf, number_of, partition_folder
from batch_assets.errors import ConfigError, StoreError
from batch_assets.lifecycle import TERMINAL, Event, State, next_state
from batch_assets.markers import BatchOwner, LeaseEntry, Marker, OpenPlan, StoreHeader
from batch_assets.records import Calibration, PlanRecord, PlanRef, Shard, ShardSpec, Transition, Wait
from batch_assets.storage.together import together
from batch_assets.timing import Timing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from batch_assets.storage.protocol import ObjectStore, StoredObject

_CARRIED = (
    "batch_id",
    "input_file",
    "attempt",
    "anchor",
    "input_deleted",
    "setbacks",
    "resend",
    "kept_seconds",
)
"""Fields of a transition that the next one takes over if it does not say otherwise."""


_CLOCK_SECONDS = 60.0
"""How long a reading of the store's clock is gone by."""


class Ledger:
    """All reading and writing of records. Holds no state but the store, the namespace and the store's id."""

    def __init__(self, store: ObjectStore, namespace: str, store_id: str, timing: Timing | None = None) -> None:
        self.store = store
        self.timing = timing or Timing()
        self.namespace = namespace
        self.store_id = store_id
        self._root = encode_key(namespace)
        self._clock: datetime | None = None
        self._clock_read_at = 0.0

    @classmethod
    def open(cls, store: ObjectStore, namespace: str = "default", *, timing: Timing | None = None) -> Ledger:
        """Open the ledger of a store, or found it. Raises UnknownFormat, CorruptObject, StoreError."""
        if not namespace:
            raise ConfigError("`namespace` is empty; name the deployment, `default` or `prod` say")
        header = StoreHeader(store_id=secrets.token_hex(8))
        try:
            found = decode(StoreHeader, store.read("store.json"), f"store.json in {store.url}")
        except FileNotFoundError:
            store.write_new("store.json", encode(header))
            found = decode(StoreHeader, store.read("store.json"), f"store.json in {store.url}")
        return cls(store, namespace, found.store_id, timing)

    def __repr__(self) -> str:
        return f"Ledger({self.store!r}, namespace={self.namespace!r})"

    @property
    def name(self) -> str:
        """What tells it from every other ledger: the store's id and the namespace."""
        return f"{self.store_id}/{self._root}"

    # ------------------------------------------------------------ plans

    def generations(self, asset: str, partition: str | None) -> list[int]:
        """Generations of the partition, ascending."""
        prefix = f"{self._partition(asset, partition)}/plans"
        return sorted(number_of(entry.path, self.store.url) for entry in self.store.list(prefix))

    def head(self, asset: str, partition: str | None) -> PlanRecord | None:
        """The current plan of the partition."""
        generations = self.generations(asset, partition)
        if not generations:
            return None
        return self.plan(PlanRef(asset=asset, partition=partition, generation=generations[-1]))

    def plan(self, ref: PlanRef) -> PlanRecord:
        """The plan of one generation. Raises FileNotFoundError if there is none."""
        return self._read(PlanRecord, self._plan(ref))

    def heads(self) -> Iterator[tuple[PlanRecord, datetime]]:
        """Every partition's current plan, and when the store got it. Walks through history: for people, not ticks."""
        newest: dict[str, StoredObject] = {}
        for entry in self.store.list(f"{self._root}/assets"):
            folder = entry.path.rpartition("/")[0]
            if folder.endswith("/plans"):  # listed in the order of their names
                newest[folder] = entry
        for entry in newest.values():
            yield self._read(PlanRecord, entry.path), entry.created_at

    def calibration(self, asset: str, code_version: str) -> Calibration | None:
        """What the first night of a definition has taught; None before it."""
        try:
            return self._read(Calibration, self._calibration(asset, code_version))
        except FileNotFoundError:
            return None

    def record_calibration(self, asset: str, code_version: str, calibration: Calibration) -> None:
        """Keep it, unless there is one already."""
        self.store.write_new(self._calibration(asset, code_version), encode(calibration))

    def new_draft(self, asset: str, partition: str | None) -> str:
        """The folder for a planner's files, under a random name: a loser's draft is garbage that nothing names."""
        return f"{self._partition(asset, partition)}/drafts/{secrets.token_hex(8)}"

    def publish_plan(self, plan: PlanRecord) -> bool:
        """Make the plan the current one: its marker, then the plan. False if another planner took the generation."""
        self.mark_open(plan.ref, plan.account)
        return self._create(self._plan(plan.ref), plan, plan.writer)

    def mark_open(self, ref: PlanRef, account: str) -> None:
        """Assert that the generation is open; also done by whoever finds its plan not settled."""
        self.store.write_new(f"{self._open(ref)}.planned.json", encode(Marker(account=account, plan=ref)))

    def open_plans(self, *, ordinary: bool = True) -> list[OpenPlan]:
        """Every generation with an open marker; without `ordinary` those alone that are canceled or not opened."""
        entries = {entry.path: entry.created_at for entry in self.store.list(f"{self._root}/open")}
        found = []
        for path, since in entries.items():
            if not path.endswith(".planned.json"):
                continue
            opened, canceled = (path.replace(".planned.", f".{one}.") in entries for one in ("opened", "canceled"))
            if opened and not canceled and not ordinary:
                continue
            try:
                marker = self._read(Marker, path)
            except FileNotFoundError:  # settled since the listing
                continue
            if marker.plan is not None:
                found.append(
                    OpenPlan(ref=marker.plan, account=marker.account, opened=opened, canceled=canceled, since=since)
                )
        return found

    def open_generations(self, asset: str, partition: str | None) -> list[int]:
        """Generations of the partition that have an open marker, ascending: one without it is settled."""
        folder = f"{self._root}/open/{encode_key(asset)}/{partition_folder(partition)}"
        names = [leaf(entry.path) for entry in self.store.list(folder)]
        return [int(name.partition(".")[0]) for name in names if name.endswith(".planned.json")]

    def mark_canceled(self, ref: PlanRef, account: str) -> None:
        """Nobody wants the generation any more: nothing more of it is sent. Lasts until it is settled."""
        self.mark_open(ref, account)
        self.store.write_new(f"{self._open(ref)}.canceled.json", encode(Marker(account=account, plan=ref)))

    def is_canceled(self, ref: PlanRef) -> bool:
        """Whether the generation is marked canceled, and not settled yet."""
        return self._exists(f"{self._open(ref)}.canceled.json")

    def open_shards_of(self, plan: PlanRecord) -> None:
        """Open every shard of the plan; done again, it changes nothing."""
        for spec in plan.shards:
            self.open_shard(spec)
        self.store.write_new(f"{self._open(plan.ref)}.opened.json", encode(Marker(account=plan.account)))

    def close_plan(self, ref: PlanRef) -> None:
        """Remove the markers of a settled generation, the one that is looked for last."""
        for name in ("canceled", "opened", "planned"):
            self.store.delete(f"{self._open(ref)}.{name}.json")

    # ------------------------------------------------------------ shards

    def open_shard(self, spec: ShardSpec) -> None:
        """Marker, spec, `waiting`. Done again, it changes nothing; a terminal shard is not opened again."""
        shard = self.find_shard(spec.account, spec.shard_id)
        if shard is not None and shard.state in TERMINAL:
            return
        self.store.write_new(self._shard_marker(spec.account, spec.shard_id), encode(Marker(account=spec.account)))
        self.store.write_new(f"{self._shard(spec.account, spec.shard_id)}/spec.json", encode(spec))
        if shard is None:
            first = Transition(number=1, state=State.WAITING, writer=new_writer(), at=_now())
            self._create(self._entry(spec, 1), first, first.writer)

    def open_shards(self, account: str) -> list[Shard]:
        """Every open shard of the account with its newest transition, the oldest first; cleans up terminal ones."""
        shards = []
        markers = sorted(
            self.store.list(f"{self._account(account)}/open"), key=lambda entry: (entry.created_at, entry.path)
        )
        found = together(lambda entry: self.find_shard(account, leaf(entry.path).removesuffix(".json")), markers)
        for entry, shard in zip(markers, found, strict=True):
            if shard is None:  # its opener is between the marker and the first transition, or died there
                continue
            if shard.state in TERMINAL:
                self.store.delete(entry.path)
                continue
            shards.append(shard)
        return shards

    def find_shard(self, account: str, shard_id: str) -> Shard | None:
        """A shard with its newest transition; None if it has not been opened."""
        folder = self._shard(account, shard_id)
        entries = self.store.list(f"{folder}/journal")
        times = {number_of(entry.path, self.store.url): entry.created_at for entry in entries}
        if not times:
            return None
        spec = self._read(ShardSpec, f"{folder}/spec.json")
        last = self._read(Transition, self._entry(spec, max(times)))
        since = times[max(times)]
        return Shard(
            spec=spec,
            last=last,
            since=since,
            entered_at=times.get(last.entered, since),
            sent_at=times.get(last.sent),
        )

    def shard(self, account: str, shard_id: str) -> Shard:
        """A shard that must be there. Raises StoreError."""
        found = self.find_shard(account, shard_id)
        if found is None:
            raise StoreError(f"shard {shard_id} of {account} is named in the store, but has not been opened")
        return found

    def age_seconds(self, since: datetime | None) -> float:
        """Seconds since a time of the store, by the store's clock.

        That clock is read once a minute at most; in between, time is what has passed in this process since.
        """
        if since is None:
            return 0.0
        passed = time.monotonic() - self._clock_read_at
        if self._clock is None or passed > _CLOCK_SECONDS:
            self._clock = self.store.now()
            passed, self._clock_read_at = 0.0, time.monotonic()
        return (self._clock - since).total_seconds() + passed

    def history(self, spec: ShardSpec) -> list[Transition]:
        """All transitions of a shard, oldest first."""
        entries = self.store.list(f"{self._shard(spec.account, spec.shard_id)}/journal")
        return [self._read(Transition, entry.path) for entry in entries]

    def advance(self, shard: Shard, event: Event, **fields: Any) -> Shard | None:
        """Record an event. None if another process was first: the caller has lost, and does not act.

        `fields` are those of Transition; those in _CARRIED are taken over from the last entry.
        Raises UnknownTransition for an event that the state cannot take.
        """
        state = next_state(shard.state, event)
        carried = {name: getattr(shard.last, name) for name in _CARRIED}
        number = shard.last.number + 1
        carried["entered"] = shard.last.entered if state is shard.state else number
        carried["sent"] = number if fields.get("batch_id") else shard.last.sent * bool(fields.get("batch_id", True))
        transition = Transition(number=number, state=state, writer=new_writer(), at=_now(), **{**carried, **fields})
        if not self._create(self._entry(shard.spec, number), transition, transition.writer):
            return None
        if state in TERMINAL:
            self.store.delete(self._shard_marker(shard.spec.account, shard.spec.shard_id))
        noted = state is shard.state
        return Shard(spec=shard.spec, last=transition, entered_at=shard.entered_at if noted else None)

    def files(self, spec: ShardSpec) -> str:
        """The folder for a shard's large objects; names in it are random."""
        return f"{self._shard(spec.account, spec.shard_id)}/files"

    def stamp(self, spec: ShardSpec) -> str:
        """What a provider's batch bears of ours: store, namespace and shard."""
        return f"{self.name}/{spec.shard_id}"

    def claim_batch(self, spec: ShardSpec, batch_id: str) -> bool:
        """Make the shard the owner of a provider's batch. False if another shard owns it."""
        path = f"{self._account(spec.account)}/batches/{encode_key(batch_id)}.json"
        self.store.write_new(path, encode(BatchOwner(shard_id=spec.shard_id, writer=new_writer())))
        return self._read(BatchOwner, path).shard_id == spec.shard_id

    def mark_surplus(self, account: str, batch_id: str) -> None:
        """A batch that its shard does not need is about to be canceled: by us, and not because nobody wants it."""
        path = f"{self._account(account)}/batches/{encode_key(batch_id)}.surplus.json"
        self.store.write_new(path, encode(Marker(account=account)))

    def is_surplus(self, account: str, batch_id: str) -> bool:
        """Whether we canceled the batch because its shard did not need it."""
        return self._exists(f"{self._account(account)}/batches/{encode_key(batch_id)}.surplus.json")

    def owner(self, account: str, batch_id: str) -> str | None:
        """The shard that owns a provider's batch."""
        try:
            return self._read(BatchOwner, f"{self._account(account)}/batches/{encode_key(batch_id)}.json").shard_id
        except FileNotFoundError:
            return None

    # ------------------------------------------------------------ leases

    def newest_lease(self, account: str) -> LeaseEntry | None:
        """The entry that counts, with the time it was written at by the store's clock."""
        entries = list(self.store.list(f"{self._account(account)}/lease"))
        while entries:
            newest = entries.pop()
            try:
                return replace(self._read(LeaseEntry, newest.path), since=newest.created_at)
            except FileNotFoundError:  # dropped by its holder, who has written a newer one
                return self.newest_lease(account)
        return None

    def take_lease(self, account: str, number: int, seconds: float) -> bool:
        """Write the next entry. False if another process was first, or has gone on beyond that number."""
        entry = LeaseEntry(number=number, seconds=seconds, writer=new_writer())
        path = self._lease(account, number)
        if not self._create(path, entry, entry.writer):
            return False
        newest = self.newest_lease(account)
        if newest is not None and newest.number == number:
            return True
        self.store.delete(path)  # older entries are dropped, so that a late writer can create one again
        return False

    def drop_lease_entry(self, account: str, number: int) -> None:
        """Delete an entry that a newer one has replaced."""
        self.store.delete(self._lease(account, number))

    # ------------------------------------------------------------ waits

    def record_wait(self, wait: Wait) -> None:
        """Record who waits for which plans."""
        self.store.write_new(self._wait(wait.wait_id), encode(wait))

    def waits(self) -> list[Wait]:
        """Everything that waits."""
        found = []
        for entry in self.store.list(f"{self._root}/waits"):
            with suppress(FileNotFoundError):  # ended since the listing
                found.append(self._read(Wait, entry.path))
        return found

    def end_wait(self, wait_id: str) -> None:
        """It waits no more."""
        self.store.delete(self._wait(wait_id))

    # ------------------------------------------------------------ inside

    def _partition(self, asset: str, partition: str | None) -> str:
        return f"{self._root}/assets/{encode_key(asset)}/{partition_folder(partition)}"

    def _plan(self, ref: PlanRef) -> str:
        return f"{self._partition(ref.asset, ref.partition)}/plans/{ref.generation:06}.json"

    def _calibration(self, asset: str, code_version: str) -> str:
        return f"{self._root}/calibrations/{encode_key(asset)}/{encode_key(code_version)}.json"

    def _open(self, ref: PlanRef) -> str:
        return f"{self._root}/open/{encode_key(ref.asset)}/{partition_folder(ref.partition)}/{ref.generation:06}"

    def _account(self, account: str) -> str:
        return f"{self._root}/accounts/{encode_key(account)}"

    def _shard(self, account: str, shard_id: str) -> str:
        return f"{self._account(account)}/shards/{shard_id}"

    def _shard_marker(self, account: str, shard_id: str) -> str:
        return f"{self._account(account)}/open/{shard_id}.json"

    def _entry(self, spec: ShardSpec, number: int) -> str:
        return f"{self._shard(spec.account, spec.shard_id)}/journal/{number:04}.json"

    def _lease(self, account: str, number: int) -> str:
        return f"{self._account(account)}/lease/{number:010}.json"

    def _wait(self, wait_id: str) -> str:
        return f"{self._root}/waits/{encode_key(wait_id)}.json"

    def _create(self, path: str, record: PlanRecord | Transition | LeaseEntry, writer: str) -> bool:
        """Create a record; if there is one already, its writer tells whether it is ours (the reply was lost)."""
        if self.store.write_new(path, encode(record)):
            return True
        try:
            return self._read(type(record), path).writer == writer
        except FileNotFoundError:  # a lease entry that its holder has replaced and dropped
            return False

    def _exists(self, path: str) -> bool:
        try:
            self.store.read(path)
        except FileNotFoundError:
            return False
        return True

    def _read(self, kind: type[Record], path: str) -> Record:
        return decode(kind, self.store.read(path), f"{path} in {self.store.url}")


def new_writer() -> str:
    """A random id for one attempt to write one record."""
    return secrets.token_hex(8)


def _now() -> datetime:
    return datetime.now(UTC)
