"""Plan, submit, poll, reconcile, harvest, collect: what a night needs, without an orchestrator."""

from batch_assets.engine.advance import advance_account
from batch_assets.engine.cancel import cancel_plan
from batch_assets.engine.collect import collect
from batch_assets.engine.plan import plan_partition
from batch_assets.engine.poll import poll_account
from batch_assets.engine.release import release_shard
from batch_assets.engine.spec import AssetSpec
from batch_assets.engine.spending import Spending
from batch_assets.engine.status import plan_status, spent_since
from batch_assets.engine.submit import submit_waiting
from batch_assets.engine.wait import wait_for
from batch_assets.engine.watch import completion_seconds

__all__ = [
    "AssetSpec",
    "Spending",
    "advance_account",
    "cancel_plan",
    "collect",
    "completion_seconds",
    "plan_partition",
    "plan_status",
    "poll_account",
    "release_shard",
    "spent_since",
    "submit_waiting",
    "wait_for",
]
