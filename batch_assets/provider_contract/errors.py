"""What a failed call means: whether it may be made again, and whether it may have cost money."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from batch_assets.errors import Ambiguous, Blocked, NotFound, ProviderError, QueueFull, Refused, Transient
from batch_assets.provider_contract.contract import SECRET, Bench, Contract, Controls, texts

_READS: dict[str, Callable[[Bench, str], object]] = {
    "batches.list": lambda bench, batch_id: bench.listed(),
    "batches.retrieve": lambda bench, batch_id: bench.provider.batch(batch_id),
    "batches.cancel": lambda bench, batch_id: bench.provider.cancel(batch_id),
    "files.content": lambda bench, batch_id: list(bench.provider.results(bench.ended(batch_id))),
}


class ErrorsContract(Contract):
    """Of calls that fail."""

    @pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 408, 409, 413, 429, 500, 503, 529])
    def test_a_create_that_is_refused(self, bench: Bench, status: int) -> None:
        bench.emulator.arm("refused", operation="batches.create", status=status)
        error = _failed(bench)
        assert type(error) is self.created[status]
        assert (error.provider, error.status) == (bench.provider.name, status)
        assert error.code
        assert str(status) in str(error)
        assert bench.listed() == []

    def test_a_full_queue_says_how_long_to_wait(self, bench: Bench) -> None:
        bench.emulator.arm("refused", operation="batches.create", status=429, retry_after=17)
        error = _failed(bench)
        assert isinstance(error, QueueFull)
        assert error.retry_after_seconds == 17
        bench.emulator.arm("refused", operation="batches.create", status=429)
        error = _failed(bench)
        assert isinstance(error, QueueFull)
        assert error.retry_after_seconds is None

    def test_without_money_the_whole_account_waits(self, bench: Bench) -> None:
        for words in self.out_of_money:
            bench.emulator.arm("refused", operation="batches.create", **words)
            error = _failed(bench)
            assert type(error) is Blocked
            assert error.whole_account

    def test_a_wrong_key(self, emulator: Controls, bench: Bench) -> None:
        wrong = self.provide(emulator, "sk-invalid-SECRET")
        for call in (wrong.newest, lambda: list(wrong.batches()), lambda: wrong.batch("batch_1")):
            with pytest.raises(Blocked) as caught:
                call()
            assert "SECRET" not in str(caught.value)

    @pytest.mark.parametrize("fault", ["drop", "hang", "proxy_error", "upload_cut"])
    def test_a_create_without_an_answer(self, bench: Bench, fault: str) -> None:
        bench.emulator.arm(fault, operation="batches.create")
        assert type(_failed(bench, timeout_seconds=0.5)) is Ambiguous
        assert bench.listed() == []

    @pytest.mark.parametrize("status", [200, 400, 403, 404, 429])
    def test_an_answer_that_is_not_the_providers_says_nothing(self, bench: Bench, status: int) -> None:
        bench.emulator.arm("proxy_error", operation="batches.create", status=status)
        assert type(_failed(bench)) is Ambiguous

    @pytest.mark.parametrize(
        "fault", ["accept_then_drop", "accept_then_error", "accept_then_proxy_error", "accept_then_hang"]
    )
    def test_a_create_is_never_sent_twice(self, emulator: Controls, fault: str) -> None:
        bench = self.bench_of(self.provide(emulator, SECRET, retries=2), emulator)
        emulator.arm(fault, operation="batches.create")
        assert type(_failed(bench, timeout_seconds=0.5)) is Ambiguous
        assert len(bench.listed()) == 1

    @pytest.mark.parametrize("operation", sorted(_READS))
    @pytest.mark.parametrize(
        ("fault", "params", "kind"),
        [
            ("drop", {}, Transient),
            ("proxy_error", {}, Transient),
            ("refused", {"status": 500}, Transient),
            ("refused", {"status": 429, "retry_after": 9}, Transient),
            ("refused", {"status": 401}, Blocked),
            ("refused", {"status": 403}, Blocked),
            ("refused", {"status": 404}, NotFound),
        ],
        ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else None,
    )
    def test_a_read_that_fails(
        self, bench: Bench, operation: str, fault: str, params: dict[str, int], kind: type[ProviderError]
    ) -> None:
        if operation == "batches.cancel":
            bench.emulator.set_latency(1000)
        batch_id = bench.send(texts(3))
        bench.emulator.arm(fault, operation=operation, **params)
        with pytest.raises(kind) as caught:
            _READS[operation](bench, batch_id)
        assert caught.value.provider == bench.provider.name
        assert SECRET not in str(caught.value)
        if "retry_after" in params:
            assert isinstance(caught.value, Transient)
            assert caught.value.retry_after_seconds == 9
        _READS[operation](bench, batch_id)

    @pytest.mark.parametrize("operation", ["batches.list", "batches.retrieve"])
    def test_a_page_with_a_good_status_is_no_answer(self, bench: Bench, operation: str) -> None:
        batch_id = bench.send(texts(1))
        bench.emulator.arm("proxy_error", operation=operation, status=200)
        with pytest.raises(Transient) as caught:
            _READS[operation](bench, batch_id)
        assert caught.value.provider == bench.provider.name

    def test_a_read_is_repeated_where_that_is_asked_for(self, emulator: Controls, bench: Bench) -> None:
        bench.send(texts(1))
        emulator.arm("refused", operation="batches.list", status=500)
        assert len(list(self.provide(emulator, SECRET, retries=2).batches())) == 1

    def test_results_that_are_cut_off(self, bench: Bench) -> None:
        batch = bench.ended(bench.send(texts(300)))
        bench.emulator.arm("cut", after_bytes=50_000)
        seen = 0
        with pytest.raises(Transient):
            for _ in bench.provider.results(batch):
                seen += 1
        assert seen < 300
        assert len(bench.results(batch)) == 300

    def test_results_that_arrive_spoiled_are_passed_on(self, bench: Bench) -> None:
        batch = bench.ended(bench.send(texts(50)))
        for fault, count in (("duplicated_lines", 51), ("dropped_lines", 49), ("foreign_lines", 51), ("empty", 0)):
            bench.emulator.arm(fault)
            lines = list(bench.provider.results(batch))
            assert len(lines) == count
            assert all(bench.provider.custom_id(line) for line in lines)
        bench.emulator.arm("garbled_lines")
        assert sum(bench.provider.custom_id(line) is None for line in bench.provider.results(batch)) == 1

    def test_uploads_that_fail(self, bench: Bench) -> None:
        if not bench.provider.limits.input_files:
            pytest.skip("requests go inline")
        for status, kind in ((500, Transient), (429, Transient), (401, Blocked), (413, Refused)):
            bench.emulator.arm("refused", operation="files.create", status=status)
            with pytest.raises(kind):
                bench.provider.upload("a.jsonl", iter(bench.lines(texts(1))))
        bench.emulator.arm("upload_cut", operation="files.create")
        with pytest.raises(Transient):
            bench.provider.upload("a.jsonl", iter(bench.lines(texts(1))))


def _failed(bench: Bench, *, timeout_seconds: float = 20) -> ProviderError:
    """The error of a create call."""
    with pytest.raises(ProviderError) as caught:
        bench.send(texts(3), timeout_seconds=timeout_seconds)
    assert SECRET not in str(caught.value)
    return caught.value
