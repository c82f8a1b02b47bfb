"""messages -> answers (batch, eager) -> report (eager); messages -> moods (batch, on cron)."""

from pathlib import Path

import dagster as dg
import pandas as pd

from batch_assets.dagster import BatchStore, OpenAIBatchResource, batch_definitions, build_batch_asset

FOLDER = Path(__file__).parent
COMMON = {
    "source": "messages",
    "provider": "openai",
    "model": "gpt-5-mini",
    "row_key": "id",
    "prompt": "{{ text }}",
    "output_type": str,
}


@dg.asset(io_manager_key="batch_tables")
def messages() -> pd.DataFrame:
    return pd.DataFrame({"id": ["a", "b"], "text": ["one", "two"]})


answers = build_batch_asset("answers", automation_condition=dg.AutomationCondition.eager(), **COMMON)
moods = build_batch_asset("moods", automation_condition=dg.AutomationCondition.on_cron("0 3 * * *"), **COMMON)


@dg.asset(automation_condition=dg.AutomationCondition.eager(), io_manager_key="batch_tables")
def report(answers: pd.DataFrame) -> pd.DataFrame:
    return answers[["id", "response"]]


defs = batch_definitions(
    assets=[messages, answers, moods, report],
    resources={"openai": OpenAIBatchResource(), "batch_store": BatchStore(root=str(FOLDER / "store"))},
    sensors=[
        dg.AutomationConditionSensorDefinition(
            "automation", target=dg.AssetSelection.all(), default_status=dg.DefaultSensorStatus.RUNNING
        )
    ],
    executor=dg.in_process_executor,
    poll_interval_seconds=5,
)
