"""The sensors, the jobs, and what a person does in between."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pytest
from dagster._core.scheduler.instigation import InstigatorStatus
from night_folder import Nights, write_night
from world import World

from batch_assets.cli import main
from batch_assets.dagster import resume_tick, sensors
from batch_assets.ledger import Ledger
from batch_assets.storage.local import LocalStore

pytestmark = [
    pytest.mark.filterwarnings("ignore::dagster.BetaWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of the daemons themselves
]


def _ledger(nights: Nights) -> Ledger:
    return Ledger.open(LocalStore(nights.folder / "store"), "default")


def _job(world: World, name: str, config: dict[str, Any]) -> dg.DagsterRun:
    """Launch a job of the location as the UI does, and run it."""
    repository = world.repository()
    result = repository.get_job(name).execute_in_process(instance=world.instance, run_config=config)
    return result.dagster_run


def test_batch_cancel_gives_up_a_night(nights: Nights, night_world: World) -> None:
    backfill = night_world.backfill(["tickets", "summarized"], nights.days)
    night_world.round(times=2)
    config = {"ops": {"batch_cancel_plans": {"config": {"asset": "summarized", "partitions": nights.days[:1]}}}}
    with pytest.raises(Exception, match="lands together"):
        _job(night_world, "batch_cancel", config)
    config = {"ops": {"batch_cancel_plans": {"config": {"asset": "summarized"}}}}
    assert _job(night_world, "batch_cancel", config).status.value == "SUCCESS"
    assert not _ledger(nights).waits()
    assert night_world.until_ended(backfill) == "COMPLETED_FAILED"
    assert nights.bought == 0
    (parked,) = [run for run in night_world.runs() if "batch_assets/parked" in run.tags]
    assert parked.tags["batch_assets/abandoned"].startswith("canceled by run")


def test_what_has_vanished_is_abandoned_and_stops_nobody(nights: Nights, monkeypatch: pytest.MonkeyPatch) -> None:
    with nights.world() as opened:
        opened.backfill(["tickets", "summarized", "rated"], nights.days)
        opened.round(times=2)
        assert {wait.asset for wait in _ledger(nights).waits()} == {"summarized", "rated"}
    nights.emulator.advance(3601)
    monkeypatch.setenv("NIGHTS_RATED", "mood")
    with nights.world(code_server=True) as renamed:
        for _ in range(4):  # without the backfill daemon, which itself fails a backfill of an asset that is gone
            renamed.sensors()
            renamed.queue()
        assert not _ledger(nights).waits()
        assert {tick.status.value for tick in renamed.ticks("batch_resume")} <= {"SUCCESS", "SKIPPED"}
        assert [len(nights.table("summarized", day)) for day in nights.days] == [4, 4, 4]
        (parked,) = [run for run in renamed.runs() if "batch_assets/parked" in run.tags]
        assert parked.tags["batch_assets/abandoned"] == "abandoned: the asset rated is no longer defined"


def test_a_stopped_sensor_is_said_before_anything_is_sent(nights: Nights, night_world: World) -> None:
    night_world.round()
    (state,) = [one for one in night_world.instance.all_instigator_state() if one.instigator_name == "batch_resume"]
    night_world.instance.update_instigator_state(state.with_status(InstigatorStatus.STOPPED))
    backfill = night_world.backfill(["tickets", "rated"], nights.days[:1])
    assert night_world.until_ended(backfill) == "COMPLETED_FAILED"
    (failed,) = [run for run in night_world.runs() if run.status.value == "FAILURE"]
    (event,) = night_world.instance.all_logs(failed.run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
    said = event.dagster_event.step_failure_data.user_failure_data.description
    assert "the sensor batch_resume is stopped" in said
    nights.emulator.advance(3601)
    assert nights.bought == 0


def test_a_provider_that_fails_is_asked_again_later(nights: Nights, night_world: World) -> None:
    backfill = night_world.backfill(["tickets", "rated"], nights.days[:1])
    night_world.round(times=2)
    nights.emulator.advance(3601)
    nights.emulator.arm("refused", operation="batches.list", status=500, times=20)
    night_world.round()
    assert night_world.ticks("batch_poll")[0].status.value == "SKIPPED"
    assert "500" in night_world.ticks("batch_poll")[0].skip_reason
    nights.emulator.clear_faults()
    assert night_world.until_ended(backfill) == "COMPLETED_SUCCESS"


@pytest.mark.parametrize(
    ("slow", "fault"),
    [("anthropic", {"fault": "hang", "seconds": 30}), ("openai", {"fault": "429", "retry_after": 30})],
)
def test_a_provider_that_does_not_answer_stops_no_other(
    nights: Nights, monkeypatch: pytest.MonkeyPatch, slow: str, fault: dict[str, Any]
) -> None:
    other = "openai" if slow == "anthropic" else "anthropic"
    with nights.world("two_providers.py") as opened:
        backfill = opened.backfill(["by_anthropic", "by_openai"], None)
        opened.round(times=2)
        nights.emulator.advance(3601)
        nights.emulator.arm(operation="batches.list", provider=slow, times=99, **fault)
        with monkeypatch.context() as patch:
            patch.setattr(sensors, "DEADLINE_SECONDS", 2.0)
            patch.setattr(sensors, "_GRACE_SECONDS", 0.1)
            opened.round(times=3)
        assert opened.progress(backfill)[f"by_{other}"] == {"MATERIALIZED": 1}
        said = "; ".join(tick.skip_reason or "" for tick in opened.ticks("batch_poll"))
        assert f"{slow}: took longer than" in said
        nights.emulator.clear_faults()
        assert opened.until_ended(backfill) == "COMPLETED_SUCCESS"
        assert {run.status.value for run in opened.runs()} == {"SUCCESS"}  # batch_advance too, whatever the IO manager


def test_what_is_too_much_for_a_tick_is_left_to_the_next(nights: Nights, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTS_AT_ONCE", "1")
    monkeypatch.setattr(resume_tick, "MOST_REQUESTS", 2)
    with nights.world() as opened:
        backfill = opened.backfill(["tickets", "rated"], nights.days)
        opened.round(times=2)
        nights.emulator.advance(3601)
        assert opened.until_ended(backfill) == "COMPLETED_SUCCESS"
        requested = [len(tick.run_ids) for tick in opened.ticks("batch_resume")]
        assert (max(requested), sum(requested)) == (2, 3)


def test_who_came_last_in_a_tick_comes_first_in_the_next() -> None:
    names = ["anthropic", "gemini", "openai"]
    assert sensors._rotated(names, None) == names
    assert sensors._rotated(names, "anthropic") == ["gemini", "openai", "anthropic"]
    assert sensors._rotated(names, "openai") == names
    assert sensors._rotated(names, "azure, which is gone") == ["gemini", "openai", "anthropic"]


def test_who_waits_sees_how_far_the_provider_is(nights: Nights, night_world: World) -> None:
    nights.emulator.arm("stuck", fraction=0.5)
    backfill = night_world.backfill(["tickets", "rated"], nights.days[:1])
    night_world.round(times=3)
    (parked,) = night_world.observations("rated")
    assert (parked["batch_assets/percent_done"], parked["batch_assets/results"]) == (0.0, 0)
    assert parked["batch_assets/expected_by"] - parked["batch_assets/waiting_since"] == pytest.approx(86_400)
    nights.emulator.advance(3601)
    night_world.round(times=3)
    newest, _ = night_world.observations("rated")  # one more, however many ticks there were
    assert (newest["batch_assets/percent_done"], newest["batch_assets/results"]) == (50.0, 2)
    assert newest["batch_assets/batch_ids"] == parked["batch_assets/batch_ids"]
    assert newest["batch_assets/expected_by"] - newest["batch_assets/waiting_since"] == pytest.approx(86_400)
    assert night_world.status(backfill) == "REQUESTED"
    assert night_world.ticks("batch_poll")[0].skip_reason == "openai: 1 open, 0 ended"


def test_a_pause_that_a_host_wants_is_seen_and_starts_no_runs(nights: Nights) -> None:
    nights.emulator.arm("refused", operation="realtime", status=429, retry_after=3600, after=6)
    with nights.world("realtime_host.py") as opened:
        backfill = opened.backfill(["answered"], None)
        opened.round(times=4)
        executed, runs = nights.bought, len(opened.runs())
        assert 6 <= executed < 12
        opened.round(times=3)
        assert (nights.bought, len(opened.runs())) == (executed, runs)
        assert "host: gpt-5-mini is not asked until" in (opened.ticks("batch_poll")[0].skip_reason or "")
        newest = opened.observations("answered")[0]
        assert (newest["batch_assets/results"], newest.get("batch_assets/expected_by")) == (executed, None)
        assert _job(
            opened, "batch_cancel", {"ops": {"batch_cancel_plans": {"config": {"asset": "answered"}}}}
        ).is_success
        assert opened.until_ended(backfill) == "COMPLETED_FAILED"
        assert nights.bought == executed
        assert list((nights.folder / "realtime").rglob("*.jsonl")) == []


def test_a_re_execution_of_a_failed_night_plans_anew(nights: Nights, night_world: World) -> None:
    """A re-execution copies the tags of a resume run; it is a person's, and looks at the source again."""
    write_night(nights.folder, "2025-01-02", [f"much {number} " * 9000 for number in range(14)])
    backfill = night_world.backfill(["tickets", "rated"], nights.days[:2])
    night_world.round(times=2)
    nights.emulator.advance(3601)
    assert night_world.until_ended(backfill) == "COMPLETED_FAILED"
    (failed,) = [run for run in night_world.runs() if run.status.value == "FAILURE"]
    write_night(nights.folder, "2025-01-02", ["short"])
    tickets = night_world.backfill(["tickets"], ["2025-01-02"])
    assert night_world.until_ended(tickets) == "COMPLETED_SUCCESS"
    again = night_world.re_execute(failed)
    assert night_world.instance.get_run_by_id(again).tags["batch_assets/resumes"]
    night_world.round(times=2)
    assert "batch_assets/parked" in night_world.instance.get_run_by_id(again).tags
    nights.emulator.advance(3601)
    night_world.round(times=4)
    assert len(nights.table("rated", "2025-01-02")) == 1
    assert not _ledger(nights).waits()


def test_an_account_without_money_says_so_wherever_a_person_looks(
    nights: Nights, night_world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    nights.emulator.arm("429", operation="batches.create", code="insufficient_quota", times=9)
    night_world.backfill(["tickets", "summarized"], nights.days)
    night_world.round(times=2)
    said = "creating a batch was answered 429"
    tick = night_world.ticks("batch_poll")[0].skip_reason
    assert f"nothing is sent: {said}" in tick
    assert tick.count(said) == 1
    assert any(said in str(observed) for observed in night_world.observations("summarized"))
    main(["status", "--store", str(nights.folder / "store")])
    assert said in capsys.readouterr().out
    assert nights.bought == 0
