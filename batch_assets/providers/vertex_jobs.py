"""Vertex AI's batch prediction jobs, as the SDK gives them, read into what the engine knows of a batch."""

from __future__ import annotations

from datetime import UTC
from typing import Any

from batch_assets.records import BatchInfo, BatchPhase, Ending

_PHASES = {
    "JOB_STATE_QUEUED": BatchPhase.RUNNING,
    "JOB_STATE_PENDING": BatchPhase.RUNNING,
    "JOB_STATE_RUNNING": BatchPhase.RUNNING,
    "JOB_STATE_PAUSED": BatchPhase.RUNNING,
    "JOB_STATE_UPDATING": BatchPhase.RUNNING,
    "JOB_STATE_CANCELLING": BatchPhase.CANCELING,
    "JOB_STATE_SUCCEEDED": BatchPhase.ENDED,
    "JOB_STATE_PARTIALLY_SUCCEEDED": BatchPhase.ENDED,
    "JOB_STATE_FAILED": BatchPhase.ENDED,
    "JOB_STATE_CANCELLED": BatchPhase.ENDED,
    "JOB_STATE_EXPIRED": BatchPhase.ENDED,
}
_ENDINGS = {
    "JOB_STATE_SUCCEEDED": Ending.COMPLETED,
    "JOB_STATE_PARTIALLY_SUCCEEDED": Ending.COMPLETED,
    "JOB_STATE_FAILED": Ending.FAILED,
    "JOB_STATE_CANCELLED": Ending.CANCELED,
    "JOB_STATE_EXPIRED": Ending.EXPIRED,
}
_EXHAUSTED, _DENIED = 8, 7  # google.rpc.Code


def job_info(job: Any) -> BatchInfo:
    """What the engine knows of a job."""
    state = str(job.state.value) if job.state is not None else "JOB_STATE_UNSPECIFIED"
    stats, error = job.completion_stats, job.error
    completed, failed, left = (
        (stats and _count(getattr(stats, name))) for name in ("successful_count", "failed_count", "incomplete_count")
    )
    unexecuted = state == "JOB_STATE_FAILED" and not completed
    output = job.output_info.gcs_output_directory if job.output_info else None
    return BatchInfo(
        batch_id=str(job.name).rpartition("/")[2],
        phase=_PHASES.get(state, BatchPhase.UNKNOWN),
        raw_status=state,
        created_at=job.create_time.astimezone(UTC),
        stamp=job.display_name,
        input_file=job.src.gcs_uri[0] if job.src and job.src.gcs_uri else None,
        result_files=(output,) if output else (),
        total=None if completed is None else completed + (failed or 0) + (left or 0) or None,
        completed=completed,
        failed=failed,
        ending=_ENDINGS.get(state),
        ended_at=job.end_time.astimezone(UTC) if job.end_time else None,
        error_code=str(error.code) if error and error.code else None,
        error_message=error.message if error else None,
        queue_full=unexecuted and error is not None and error.code == _EXHAUSTED,
        blocked=unexecuted and error is not None and error.code == _DENIED,
    )


def _count(value: int | None) -> int | None:
    """-1 is unknown."""
    return None if value is None or value < 0 else int(value)
