"""A batch from its creation to its results, as the engine sees it through a provider."""

from __future__ import annotations

from datetime import UTC

import pytest

from batch_assets.errors import NotFound
from batch_assets.provider_contract.contract import STAMP, Bench, Contract, texts
from batch_assets.records import BatchPhase, Ending, Outcome


class CallsContract(Contract):
    """Of a batch's life."""

    def test_what_a_batch_says_of_itself(self, bench: Bench) -> None:
        bench.emulator.set_latency(1000)
        batch_id = bench.send(texts(40))
        for seconds in (0, 150, 400, 420):
            bench.emulator.advance(seconds)
            batch = bench.provider.batch(batch_id)
            assert (batch.batch_id, batch.phase) == (batch_id, BatchPhase.RUNNING)
            assert (batch.ended_at, batch.ending) == (None, None)
            assert batch.total in {None, 40}
            assert batch.created_at.tzinfo == UTC
        bench.emulator.advance(40)
        batch = bench.provider.batch(batch_id)
        assert (batch.phase, batch.ending) in {(BatchPhase.ENDED, Ending.COMPLETED), (BatchPhase.ENDED, None)}
        assert (batch.total, batch.completed, batch.failed) == (40, 40, 0)
        assert batch.result_files
        assert batch.ended_at is not None
        assert 990 <= (batch.ended_at - batch.created_at).total_seconds() <= 1010
        assert batch.stamp == (STAMP if bench.provider.limits.stamped and self.shows_stamp else None)
        assert batch.input_file or self.shows_stamp
        assert bench.listed() == [batch]
        assert len(bench.results(batch)) == 40

    @pytest.mark.parametrize("outcome", [Outcome.EXPIRED, Outcome.CANCELED])
    def test_what_was_finished_is_kept(self, bench: Bench, outcome: Outcome) -> None:
        bench.emulator.arm(str(outcome), fraction=0.25)
        batch = bench.ended(bench.send(texts(40)))
        ending = self.status_of_expired if outcome is Outcome.EXPIRED else self.status_of_canceled
        assert batch.ending == ending
        results = bench.results(batch)
        done = [result for result in results if result.outcome is Outcome.SUCCEEDED]
        left = [result for result in results if result.outcome is not Outcome.SUCCEEDED]
        assert len(done) == bench.bill["requests"] == batch.completed == 10
        assert {result.outcome for result in left} <= {outcome}
        assert len(left) in ({30} if ending is None else {0, 30})
        assert all(result.curable == (outcome is Outcome.EXPIRED) for result in left)

    def test_cancel(self, bench: Bench) -> None:
        bench.emulator.set_latency(1000)
        batch_id = bench.send(texts(40))
        bench.emulator.advance(525)
        bench.provider.cancel(batch_id)
        assert bench.provider.batch(batch_id).phase is BatchPhase.CANCELING
        bench.provider.cancel(batch_id)
        bench.emulator.advance(100)
        batch = bench.provider.batch(batch_id)
        assert (batch.phase, batch.ending) == (BatchPhase.ENDED, self.status_of_canceled)
        done = [result for result in bench.results(batch) if result.outcome is Outcome.SUCCEEDED]
        assert 0 < len(done) == bench.bill["requests"] < 40
        bench.provider.cancel(batch_id)  # it has ended: no error

    def test_cancel_of_a_batch_that_is_done_is_no_error(self, bench: Bench) -> None:
        batch = bench.ended(bench.send(texts(2)))
        bench.provider.cancel(batch.batch_id)
        assert bench.provider.batch(batch.batch_id) == batch

    def test_a_batch_that_fails_as_a_whole(self, bench: Bench) -> None:
        if not self.fails_as_a_whole:
            pytest.skip("the provider has no such thing")
        bench.emulator.arm("validation_failed", code="some_code", message="The batch is wrong.")
        batch = bench.ended(bench.send(texts(3)))
        assert batch.ending is Ending.FAILED
        assert "The batch is wrong." in (batch.error_message or "")
        assert list(bench.provider.results(batch)) == []
        assert bench.bill["requests"] == 0

    def test_every_status_that_the_provider_has(self, bench: Bench) -> None:
        batch_id = bench.send(texts(1))
        for status, (phase, ending) in self.statuses.items():
            for operation in ("batches.retrieve", "batches.list"):
                bench.emulator.arm("unknown_status", operation=operation, status=status)
            for batch in (bench.provider.batch(batch_id), *bench.listed()):
                assert (batch.raw_status, batch.phase, batch.ending) == (status, phase, ending)

    def test_a_status_that_is_not_known(self, bench: Bench) -> None:
        batch_id = bench.send(texts(1))
        for operation in ("batches.retrieve", "batches.list"):
            bench.emulator.arm("unknown_status", operation=operation, status="paused_by_moon")
        for batch in (bench.provider.batch(batch_id), *bench.listed()):
            assert (batch.phase, batch.raw_status) == (BatchPhase.UNKNOWN, "paused_by_moon")

    def test_a_batch_that_is_not_there(self, bench: Bench) -> None:
        bench.emulator.arm("vanished")
        batch_id = bench.send(texts(1))
        for call in (bench.provider.batch, bench.provider.cancel):
            with pytest.raises(NotFound):
                call(batch_id)
        assert bench.listed() == []

    def test_exactly_the_limit_of_requests_and_one_more(self, bench: Bench) -> None:
        bench.emulator.set_limits(bench.emulated, max_requests=7)
        assert not bench.is_refused(texts(7))
        assert bench.is_refused(texts(8))
        assert bench.bill["requests"] == 7

    def test_exactly_the_limit_of_bytes_and_one_more(self, bench: Bench) -> None:
        given = [*texts(5), "ü\n\u2028"]
        size = sum(len(line) for line in bench.lines(given)) + self.frame_bytes
        bench.emulator.set_limits(bench.emulated, max_bytes=size)
        assert not bench.is_refused(given)
        bench.emulator.set_limits(bench.emulated, max_bytes=size - 1)
        assert bench.is_refused(given)
        assert bench.bill["requests"] == 6
