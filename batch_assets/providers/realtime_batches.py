"""What is under way at a host without a batch API: batches, their answers and the host's pauses, in a store of ours.

A batch is a folder: what `create` wrote, the answers as they came, and marks that it was begun or canceled. Objects are
created once and never changed, so any process may die at any of them, and the next one goes on from what is there.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec

from batch_assets.errors import NotFound, Refused, Transient
from batch_assets.records import BatchInfo, BatchPhase, InputFile

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from batch_assets.storage.protocol import ObjectStore, StoredObject

EXPIRED = "expired"
"""`raw_status` of a batch that is given up, see `_STALLED`."""
_STALLED = timedelta(hours=24)
"""A batch that was begun expires when nothing of it was answered for so long, as at a batch API."""
_LONGEST_HOLD_SECONDS = 3600.0
_STATE = "batch.json"
_BEGUN = "begun.json"
_CANCELED = "canceled.json"
_ANSWERS = ".jsonl"
"""The file's name is how many answers there were before, so that two processes cannot both write the next ones."""


class _State(msgspec.Struct, frozen=True):
    """What `create` writes."""

    stamp: str
    input_file: str
    model: str
    requests: int


class Hold(msgspec.Struct, frozen=True):
    """The host is not asked until a time of the store's clock."""

    until: datetime
    seconds: float
    reason: str
    model: str | None
    """The only one that is not asked; None: nothing at all."""
    blocked: bool
    """It wants a person."""


def root_id(store: ObjectStore) -> str:
    """What tells one folder of batches from another: random, and written once."""
    path = "realtime/id"
    try:
        return store.read(path).decode()
    except FileNotFoundError:
        store.write_new(path, secrets.token_hex(4).encode())
        return store.read(path).decode()


class RealtimeBatches:
    """Those of one account, below a folder of the store. Raises StoreError; NotFound for a batch that is not there."""

    def __init__(self, store: ObjectStore, root: str, *, name: str) -> None:
        """`name` is the provider's, for errors."""
        self._store, self._root, self._name = store, root, name
        self._last_at = 0  # milliseconds: of two batches the later one has the greater id

    # ------------------------------------------------------------ input files

    def upload(self, name: str, chunks: Iterable[bytes]) -> str:
        """Keep the requests; returns the name of the file."""
        input_file = f"{secrets.token_hex(8)}-{name}"
        with self._store.create(self._input(input_file)) as stream:
            stream.writelines(chunks)
        return input_file

    def input_files(self) -> Iterator[InputFile]:
        """All of them."""
        for found in self._store.list(f"{self._root}/inputs"):
            file_id = found.path.rpartition("/")[2]
            yield InputFile(file_id=file_id, name=file_id.partition("-")[2])

    def delete_input(self, input_file: str) -> None:
        """Delete the batch that was made of the requests, and then these."""
        found = [one.path for one in self._store.list(f"{self._root}/batches")]
        token = input_file.partition("-")[0]
        for path in sorted(found, key=lambda path: path.endswith(_STATE)):
            if path.split("/")[-2].rpartition("-")[2] == token:
                self._store.delete(path)
        self._store.delete(self._input(input_file))

    def requests(self, batch_id: str) -> list[bytes]:
        """The lines of its input file."""
        input_file = self._state(batch_id).input_file
        try:
            return self._store.read(self._input(input_file)).splitlines()
        except FileNotFoundError as error:
            raise NotFound(f"the requests {input_file} are gone", provider=self._name) from error

    # ------------------------------------------------------------ batches

    def create(self, stamp: str, input_file: str, model: str) -> str:
        """Write the batch down; its id. Raises Refused if the file is not there."""
        try:
            with self._store.fetch(self._input(input_file)) as file, file.open("rb") as content:
                requests = sum(1 for _ in content)
        except FileNotFoundError as error:
            raise Refused(f"the input file {input_file} is not there", provider=self._name, status=404) from error
        self._last_at = max(int(self._store.now().timestamp() * 1000), self._last_at + 1)
        batch_id = f"rt-{self._last_at:014}-{input_file.partition('-')[0]}"
        state = _State(stamp=stamp, input_file=input_file, model=model, requests=requests)
        self._store.write_new(f"{self._folder(batch_id)}/{_STATE}", msgspec.json.encode(state))
        return batch_id

    def begin(self, batch_id: str) -> bool:
        """Note that its requests are being asked from now on; False if they were before."""
        return self._store.write_new(f"{self._folder(batch_id)}/{_BEGUN}", b"{}")

    def model(self, batch_id: str) -> str:
        """That of all its requests."""
        return self._state(batch_id).model

    def newest(self) -> str | None:
        """Id of the newest batch."""
        paths = (found.path.split("/") for found in self._store.list(f"{self._root}/batches"))
        return max((parts[-2] for parts in paths if parts[-1] == _STATE), default=None)

    def infos(self) -> Iterator[BatchInfo]:
        """All batches, newest first."""
        folders: dict[str, list[StoredObject]] = {}
        for found in self._store.list(f"{self._root}/batches"):
            folders.setdefault(found.path.split("/")[-2], []).append(found)
        if not folders:
            return
        holds, now = [hold for _, hold in self._holds()], self._store.now()
        for batch_id in sorted(folders, reverse=True):
            try:
                yield self._info(batch_id, folders[batch_id], holds, now)
            except NotFound:
                continue  # harvested meanwhile

    def info(self, batch_id: str) -> BatchInfo:
        """One batch. It runs as long as requests of it are left, and is due unless there is a hold."""
        found = list(self._store.list(self._folder(batch_id)))
        return self._info(batch_id, found, [hold for _, hold in self._holds()], self._store.now())

    def _info(self, batch_id: str, found: list[StoredObject], holds: Sequence[Hold], now: datetime) -> BatchInfo:
        state = self._state(batch_id)
        names = {each.path.rpartition("/")[2]: each.created_at for each in found}
        kept = [name for name in names if name.endswith(_ANSWERS)]
        last = self._store.read(f"{self._folder(batch_id)}/{kept[-1]}").splitlines() if kept else []
        answered = int(kept[-1].removesuffix(_ANSWERS)) + len(last) if kept else 0
        holds = [hold for hold in holds if hold.model in {None, state.model}]
        hold = max((hold for hold in holds if hold.until > now), key=lambda hold: hold.until, default=None)
        stopped = any(hold.blocked and hold.model is None for hold in holds)
        stalled = _BEGUN in names and now - max(names.values()) > _STALLED and not stopped
        status = "running" if hold is None else "held"
        if answered == state.requests:
            status = "ended"
        elif _CANCELED in names:
            status = "canceled"
        elif stalled:
            status = EXPIRED
        ended = status not in {"running", "held"}
        return BatchInfo(
            batch_id=batch_id,
            phase=BatchPhase.ENDED if ended else BatchPhase.RUNNING,
            raw_status=status,
            created_at=datetime.fromtimestamp(int(batch_id.split("-")[1]) / 1000, UTC),
            stamp=state.stamp,
            input_file=state.input_file,
            result_files=(batch_id,) if ended else (),
            total=state.requests,
            completed=answered,
            failed=0,
            ended_at=max(names.values()) if ended else None,
            due=status == "running",
            note=f"{self._name}: {hold.reason}" if hold is not None and not ended else None,
        )

    def cancel(self, batch_id: str) -> None:
        """What is not executed by now never will be."""
        self._state(batch_id)
        self._store.write_new(f"{self._folder(batch_id)}/{_CANCELED}", b"{}")

    def is_canceled(self, batch_id: str) -> bool:
        """Whether somebody did."""
        try:
            self._store.read(f"{self._folder(batch_id)}/{_CANCELED}")
        except FileNotFoundError:
            return False
        return True

    # ------------------------------------------------------------ answers

    def answers(self, batch_id: str) -> Iterator[bytes]:
        """The result lines so far, without their line feeds."""
        for found in self._store.list(self._folder(batch_id)):
            if found.path.endswith(_ANSWERS):
                yield from self._store.read(found.path).splitlines()

    def add_answers(self, batch_id: str, lines: Iterable[bytes], *, before: int) -> None:
        """Keep the next ones, after so many answers. Raises Transient if another process has kept some there."""
        path, content = f"{self._folder(batch_id)}/{before:09}{_ANSWERS}", b"".join(lines)
        if not self._store.write_new(path, content) and self._store.read(path) != content:
            raise Transient(f"{self._name}: another process works on {batch_id}", provider=self._name)

    # ------------------------------------------------------------ pauses, for all processes of the account

    def is_held(self, model: str) -> bool:
        """Whether the model may not be asked now."""
        holds = [hold for _, hold in self._holds() if hold.model in {None, model}]
        return bool(holds) and max(hold.until for hold in holds) > self._store.now()

    def write_hold(self, seconds: float, reason: str, *, model: str | None, blocked: bool = False) -> None:
        """Let the host, or only the model, not be asked for so long; an hour at most.

        `blocked`: each time in a row it is twice as long.
        """
        now = self._store.now()
        for path, hold in list(self._holds()):
            if hold.model == model and hold.until <= now:
                if blocked and hold.blocked:
                    seconds = max(seconds, 2 * hold.seconds)
                self._store.delete(path)
        seconds = min(seconds, _LONGEST_HOLD_SECONDS)
        until = now + timedelta(seconds=seconds)
        what = "the host" if model is None else model
        text = f"{what} is not asked until {until:%Y-%m-%d %H:%M:%S} UTC: {reason}"
        written = Hold(until=until, seconds=seconds, reason=text, model=model, blocked=blocked)
        self._store.write_new(f"{self._root}/holds/{secrets.token_hex(8)}.json", msgspec.json.encode(written))

    def forget_holds(self, model: str) -> None:
        """The model answers: delete the holds that are over."""
        for path, hold in list(self._holds()):
            if hold.model in {None, model} and hold.until <= self._store.now():
                self._store.delete(path)

    def _holds(self) -> Iterator[tuple[str, Hold]]:
        for found in self._store.list(f"{self._root}/holds"):
            try:
                yield found.path, msgspec.json.decode(self._store.read(found.path), type=Hold)
            except FileNotFoundError:
                continue  # it was over

    # ------------------------------------------------------------ paths

    def _folder(self, batch_id: str) -> str:
        return f"{self._root}/batches/{batch_id}"

    def _input(self, input_file: str) -> str:
        return f"{self._root}/inputs/{input_file}"

    def _state(self, batch_id: str) -> _State:
        try:
            return msgspec.json.decode(self._store.read(f"{self._folder(batch_id)}/{_STATE}"), type=_State)
        except FileNotFoundError as error:
            raise NotFound(f"there is no batch {batch_id} in {self._store.url}", provider=self._name) from error
