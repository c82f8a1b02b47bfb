"""The thread that does what is due: validates, executes, finishes. One chunk of one batch at a time, in turn."""

import logging
import threading
import time
from array import array
from collections import OrderedDict
from collections.abc import Mapping
from random import Random

from batch_assets.emulator import bill
from batch_assets.emulator.batches import (
    Batch,
    Close,
    Enter,
    Execute,
    Phase,
    Problem,
    Validate,
    Wait,
    next_step,
)
from batch_assets.emulator.clock import Clock
from batch_assets.emulator.faults import Faults
from batch_assets.emulator.lines import LineFile
from batch_assets.emulator.store import Store, StoredFile
from batch_assets.emulator.wire import Finishing, Wire

_CHUNK_REQUESTS = 512
_CHUNK_SECONDS = 0.1
_CHUNK_BYTES = 1 << 22
_BLOCK_REQUESTS = 64  # neighbours stay near each other, so that one read brings many
_TICK_SECONDS = 0.05
_BUFFER_BYTES = 1 << 20
_OPEN_INPUTS = 32  # inputs kept open with their order of execution

log = logging.getLogger(__name__)


class Worker:
    """Acts on `next_step` for every open batch until it is stopped."""

    def __init__(self, store: Store, clock: Clock, faults: Faults, wires: Mapping[str, Wire], seed: int) -> None:
        self._store = store
        self._clock = clock
        self._faults = faults
        self._wires = wires
        self._seed = seed
        self._inputs: OrderedDict[str, tuple[LineFile, array[int]]] = OrderedDict()
        self._turn = threading.Condition()
        self._asked = 0
        self._served = 0
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="emulator-worker", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        with self._turn:
            self._stopping = True
            self._turn.notify_all()
        self._thread.join()
        for lines, _ in self._inputs.values():
            lines.close()

    def nudge(self) -> None:
        """Something may have become due."""
        with self._turn:
            self._asked += 1
            self._turn.notify_all()

    def settle(self, timeout_seconds: float) -> bool:
        """Wait until everything that is due has been done; False when the time was too short."""
        deadline = time.monotonic() + timeout_seconds
        with self._turn:
            self._asked += 1
            ticket = self._asked
            self._turn.notify_all()
            while self._served < ticket and not self._stopping:
                left = deadline - time.monotonic()
                if left <= 0 or not self._turn.wait(left):
                    return False
        return True

    def _run(self) -> None:
        while True:
            with self._turn:
                if self._stopping:
                    return
                asked = self._asked
            sleep_seconds = self._round()
            with self._turn:
                if sleep_seconds > 0:
                    self._served = asked
                    self._turn.notify_all()
                    if self._asked == asked and not self._stopping:
                        self._turn.wait(sleep_seconds)

    def _round(self) -> float:
        """Give every open batch its turn; how long nothing will be due, 0 when something still is."""
        nearest = 3600.0
        for batch in self._store.open_batches():
            if self._stopping:
                return 0.0
            until = self._attempt(batch)
            nearest = 0.0 if until is None else min(nearest, max(_TICK_SECONDS, until - self._clock.now()))
        return nearest

    def _attempt(self, batch: Batch) -> float | None:
        """One step of one batch; when the next is due, None for at once."""
        step = next_step(batch, self._clock.now())
        try:
            match step:
                case Wait(until=until):
                    return until
                case Validate(at=at):
                    self._validate(batch, at)
                case Execute(upto=upto):
                    self._execute(batch, upto)
                case Enter(phase=phase, at=at):
                    self._enter(batch.id, phase, at)
                case Close(outcome=outcome, at=at):
                    self._close(batch, outcome, at)
        except FileNotFoundError:
            if self._store.batch(batch.id) is not None:
                raise
            # The state was reset meanwhile.
        except Exception:  # a defect of the emulator must not stop every other batch
            log.exception("batch %s failed in the emulator", batch.id)
            problem = Problem(code="emulator_error", message="The emulator failed; see its log.")
            self._fail(batch.id, [problem], self._clock.now())
        return None

    # -- steps ---------------------------------------------------------------------------------------------------

    def _validate(self, batch: Batch, at: float) -> None:
        with LineFile(self._store.input_path(batch.id)) as lines:
            verdict = self._wires[batch.provider].validate(batch, lines)
            checksum = lines.checksum
            total = len(lines)
        if verdict.problems:
            self._fail(batch.id, verdict.problems, at)
            return
        with self._store.changing(batch.id) as fresh:
            if fresh is not None and fresh.phase is Phase.VALIDATING:
                fresh.model, fresh.total = verdict.model, total
                fresh.order_seed = f"{self._seed}:{checksum}:{total}"
                fresh.enter(Phase.RUNNING, at)

    def _fail(self, batch_id: str, problems: list[Problem], at: float) -> None:
        with self._store.changing(batch_id) as fresh:
            if fresh is not None and fresh.open:
                fresh.problems = problems
                fresh.enter(Phase.FAILED, at)
        self._forget(batch_id)

    def _enter(self, batch_id: str, phase: Phase, at: float) -> None:
        with self._store.changing(batch_id) as fresh:
            if fresh is not None and fresh.phase is Phase.RUNNING:
                fresh.enter(phase, at)

    def _execute(self, batch: Batch, upto: int) -> None:
        """Execute a chunk: results into the files, then counts and bill in one transaction."""
        lines, order = self._input(batch)
        wire = self._wires[batch.provider]
        rules = self._faults.rules(batch.provider)
        output, errors = bytearray(), bytearray()
        billed: list[bill.BillLine] = []
        done = batch.executed
        stop_at = time.monotonic() + _CHUNK_SECONDS
        now = int(self._clock.now())
        chunk = order[done : min(upto, done + _CHUNK_REQUESTS)]
        for line in lines.several(chunk, _CHUNK_BYTES):
            if time.monotonic() > stop_at:
                break
            result = wire.execute(batch, line, now, rules.strike)
            (output if result.ok or not wire.error_file else errors).extend(result.line)
            batch.succeeded += result.ok
            batch.errored += not result.ok
            if result.billed:
                batch.usage.add(result.usage)
            billed.append(bill.BillLine.of(result, source=batch.id, line=order[done], provider=batch.provider))
            done += 1
        output_bytes = self._append(batch.output_file_id, batch.output_bytes, output)
        error_bytes = self._append(batch.error_file_id, batch.error_bytes, errors)
        with self._store.transaction() as db, self._store.changing(batch.id) as fresh:
            if fresh is None:
                return
            fresh.executed, fresh.succeeded, fresh.errored = done, batch.succeeded, batch.errored
            fresh.usage, fresh.output_bytes, fresh.error_bytes = batch.usage, output_bytes, error_bytes
            bill.record(db, billed)
            rules.save(db)

    def _close(self, batch: Batch, outcome: Phase, at: float) -> None:
        """Write what was not executed, publish the files, end the batch."""
        if batch.total > batch.executed:
            self._abandon(batch, outcome)
        gone = batch.fate in ("no_result_files", "result_files_gone")
        wire = self._wires[batch.provider]
        if isinstance(wire, Finishing) and batch.output_bytes and not gone:
            with LineFile(self._store.content_path(batch.output_file_id)) as output:
                wire.finish(batch, output)
        with self._store.changing(batch.id) as fresh:
            if fresh is None or not fresh.open:
                return
            fresh.output_bytes, fresh.error_bytes = batch.output_bytes, batch.error_bytes
            for kind, file_id, size in (
                ("output", fresh.output_file_id, fresh.output_bytes),
                ("errors", fresh.error_file_id, fresh.error_bytes),
            ):
                if size and not gone:
                    self._publish(fresh, kind, file_id, size, at)
            fresh.enter(outcome, at)
        self._forget(batch.id)

    def _publish(self, batch: Batch, kind: str, file_id: str, size: int, at: float) -> None:
        purpose, filename, expires_at = self._wires[batch.provider].result_file(batch, kind)
        self._store.add_file(
            StoredFile(
                id=file_id,
                provider=batch.provider,
                account=batch.account,
                purpose=purpose,
                filename=filename,
                bytes=size,
                created_at=at,
                expires_at=expires_at,
                kind=kind,
                batch_id=batch.id,
            )
        )

    def _abandon(self, batch: Batch, outcome: Phase) -> None:
        """Write the lines of requests that were not executed, behind what the file holds already."""
        wire = self._wires[batch.provider]
        lines, order = self._input(batch)
        file_id = batch.error_file_id if wire.error_file else batch.output_file_id
        size = batch.error_bytes if wire.error_file else batch.output_bytes
        buffer = bytearray()
        for position in range(batch.executed, batch.total):
            buffer += wire.abandon(batch, lines[order[position]], outcome)
            if len(buffer) > _BUFFER_BYTES:
                size = self._append(file_id, size, buffer)
                buffer.clear()
        size = self._append(file_id, size, buffer)
        if wire.error_file:
            batch.error_bytes = size
        else:
            batch.output_bytes = size

    # -- files ---------------------------------------------------------------------------------------------------

    def _append(self, file_id: str, size: int, data: bytearray) -> int:
        """Put `data` at `size`, which is where the last committed chunk ended; returns the new size."""
        if not data:
            return size
        path = self._store.content_path(file_id)
        path.touch()
        with path.open("r+b") as file:
            file.seek(size)
            file.write(data)
            file.truncate()
        return size + len(data)

    def _input(self, batch: Batch) -> "tuple[LineFile, array[int]]":
        """The batch's requests and the order in which they are executed (which result lines have, too)."""
        if batch.id in self._inputs:
            self._inputs.move_to_end(batch.id)
            return self._inputs[batch.id]
        lines = LineFile(self._store.input_path(batch.id))
        self._inputs[batch.id] = lines, _shuffled(len(lines), Random(batch.order_seed))  # noqa: S311 -- not a secret
        if len(self._inputs) > _OPEN_INPUTS:
            self._inputs.popitem(last=False)[1][0].close()
        return self._inputs[batch.id]

    def _forget(self, batch_id: str) -> None:
        if batch_id in self._inputs:
            self._inputs.pop(batch_id)[0].close()
        self._store.input_path(batch_id).unlink(missing_ok=True)


def _shuffled(count: int, random: Random) -> "array[int]":
    """0 to count - 1: blocks of neighbours in random order, and each in random order inside."""
    starts = list(range(0, count, _BLOCK_REQUESTS))
    random.shuffle(starts)
    order = array("I")
    for start in starts:
        block = list(range(start, min(count, start + _BLOCK_REQUESTS)))
        random.shuffle(block)
        order.extend(block)
    if count > 1 and all(i == position for i, position in enumerate(order)):
        order.reverse()
    return order
