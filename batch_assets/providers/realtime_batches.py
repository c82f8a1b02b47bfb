"""What is under way at a host without a batch API: batches, their answers and the host's pauses, in a store of ours.

A batch is a folder: what `create` wrote, the answers as they came, and perhaps a mark that it is canceled. Objects are
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
    from collections.abc import Iterable, Iterator

    from batch_assets.storage.protocol import ObjectStore, StoredObject

_STATE = "batch.json"
_CANCELED = "canceled.json"
_ANSWERS = ".jsonl"
"""Answers; the file's name is how many there were before, so that two processes cannot both write the next ones."""


class _State(msgspec.Struct, frozen=True):
    """What `create` writes."""

    stamp: str
    input_file: str
    requests: int


class Hold(msgspec.Struct, frozen=True):
    """Nothing is asked of the host until a time of the store's clock."""

    until: datetime
    reason: str


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
        """Those that no batch was made of."""
        used = {self._state(batch_id).input_file for batch_id in self.ids()}
        for found in self._store.list(f"{self._root}/inputs"):
            file_id = found.path.rpartition("/")[2]
            if file_id not in used:
                yield InputFile(file_id=file_id, name=file_id.partition("-")[2])

    def delete_input(self, input_file: str) -> None:
        """Delete the requests, and the batch that was made of them."""
        for batch_id in self.ids():
            if self._state(batch_id).input_file == input_file:
                files = self._store.list(self._folder(batch_id))
                for found in sorted(files, key=lambda one: one.path.endswith(_STATE)):
                    self._store.delete(found.path)
        self._store.delete(self._input(input_file))

    def requests(self, batch_id: str) -> list[bytes]:
        """The lines of its input file."""
        input_file = self._state(batch_id).input_file
        try:
            return self._store.read(self._input(input_file)).splitlines()
        except FileNotFoundError as error:
            raise NotFound(f"the requests {input_file} are gone", provider=self._name) from error

    # ------------------------------------------------------------ batches

    def create(self, stamp: str, input_file: str) -> str:
        """Write the batch down; its id. Raises Refused if the file is not there."""
        try:
            with self._store.fetch(self._input(input_file)) as file, file.open("rb") as content:
                requests = sum(1 for _ in content)
        except FileNotFoundError as error:
            raise Refused(f"the input file {input_file} is not there", provider=self._name, status=404) from error
        self._last_at = max(int(self._store.now().timestamp() * 1000), self._last_at + 1)
        batch_id = f"rt-{self._last_at:014}-{secrets.token_hex(6)}"
        state = _State(stamp=stamp, input_file=input_file, requests=requests)
        self._store.write_new(f"{self._folder(batch_id)}/{_STATE}", msgspec.json.encode(state))
        return batch_id

    def ids(self) -> list[str]:
        """Of all batches, newest first."""
        paths = (found.path.split("/") for found in self._store.list(f"{self._root}/batches"))
        return sorted((parts[-2] for parts in paths if parts[-1] == _STATE), reverse=True)

    def infos(self) -> Iterator[BatchInfo]:
        """All batches, newest first."""
        hold = self.hold()
        folders: dict[str, list[StoredObject]] = {}
        for found in self._store.list(f"{self._root}/batches"):
            folders.setdefault(found.path.split("/")[-2], []).append(found)
        for batch_id in sorted(folders, reverse=True):
            try:
                yield self._info(batch_id, folders[batch_id], hold)
            except NotFound:
                continue  # harvested meanwhile

    def info(self, batch_id: str) -> BatchInfo:
        """One batch. It runs as long as requests of it are left, and is due unless there is a hold."""
        return self._info(batch_id, list(self._store.list(self._folder(batch_id))), self.hold())

    def _info(self, batch_id: str, found: list[StoredObject], hold: Hold | None) -> BatchInfo:
        state = self._state(batch_id)
        answers = [each.path for each in found if each.path.endswith(_ANSWERS)]
        answered = _answers_before(answers[-1]) + len(self._store.read(answers[-1]).splitlines()) if answers else 0
        canceled = any(each.path.endswith(_CANCELED) for each in found)
        ended = canceled or answered == state.requests
        return BatchInfo(
            batch_id=batch_id,
            phase=BatchPhase.ENDED if ended else BatchPhase.RUNNING,
            raw_status="canceled" if canceled else "ended" if ended else "held" if hold else "running",
            created_at=datetime.fromtimestamp(int(batch_id.split("-")[1]) / 1000, UTC),
            stamp=state.stamp,
            input_file=state.input_file,
            result_files=(batch_id,) if ended else (),
            total=state.requests,
            completed=answered,
            failed=0,
            ended_at=max(each.created_at for each in found) if ended else None,
            due=not ended and hold is None,
            note=None if ended or hold is None else f"{self._name}: {hold.reason}",
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
        if not self._store.write_new(f"{self._folder(batch_id)}/{before:09}{_ANSWERS}", b"".join(lines)):
            raise Transient(f"{self._name}: another process works on {batch_id}", provider=self._name)

    # ------------------------------------------------------------ pauses, for all processes of the account

    def hold(self) -> Hold | None:
        """The longest hold that is not over."""
        holds = [hold for _, hold in self._holds() if hold.until > self._store.now()]
        return max(holds, key=lambda hold: hold.until, default=None)

    def write_hold(self, seconds: float, reason: str) -> None:
        """Let nothing be asked of the host for so long."""
        until = self._store.now() + timedelta(seconds=seconds)
        text = f"nothing is asked of the host until {until:%Y-%m-%d %H:%M:%S} UTC: {reason}"
        hold = msgspec.json.encode(Hold(until=until, reason=text))
        self._store.write_new(f"{self._root}/holds/{secrets.token_hex(8)}.json", hold)

    def forget_holds(self) -> None:
        """Delete those that are over."""
        for path, hold in self._holds():
            if hold.until <= self._store.now():
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


def _answers_before(path: str) -> int:
    return int(path.rpartition("/")[2].removesuffix(_ANSWERS))
