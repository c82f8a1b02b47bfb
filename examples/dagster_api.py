"""What the demo asks of Dagster, through the webserver's GraphQL: the same calls that the UI makes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

_LAUNCH = """
mutation ($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
    ... on UnauthorizedError { message }
    ... on PartitionSetNotFoundError { message }
    ... on PartitionKeysNotFoundError { message }
  }
}
"""
_BACKFILL = """
query ($id: String!) {
  partitionBackfillOrError(backfillId: $id) {
    __typename
    ... on PythonError { message }
    ... on BackfillNotFoundError { message }
    ... on PartitionBackfill {
      status
      error { message }
      assetBackfillData {
        assetBackfillStatuses {
          ... on AssetPartitionsStatusCounts {
            assetKey { path }
            numPartitionsTargeted
            numPartitionsInProgress
            numPartitionsMaterialized
            numPartitionsFailed
          }
        }
      }
    }
  }
}
"""
_LOCATIONS = """
{ workspaceOrError { ... on Workspace { locationEntries {
  loadStatus
  locationOrLoadError { __typename ... on PythonError { message } }
} } } }
"""
_MATERIALIZATIONS = """
query ($key: AssetKeyInput!, $partitions: [String!]) {
  assetOrError(assetKey: $key) { ... on Asset { assetMaterializations(partitions: $partitions) {
    partition
    metadataEntries {
      label
      ... on IntMetadataEntry { intValue }
      ... on FloatMetadataEntry { floatValue }
      ... on TextMetadataEntry { text }
      ... on PathMetadataEntry { path }
      ... on UrlMetadataEntry { url }
    }
  } } }
}
"""
_FAILURES = """
query ($filter: RunsFilter!) {
  runsOrError(filter: $filter, limit: 1) { ... on Runs { results {
    runId
    eventConnection { events {
      ... on ExecutionStepFailureEvent { stepKey error { message causes { message } } }
      ... on RunFailureEvent { message }
    } }
  } } }
}
"""


class DagsterError(Exception):
    """Dagster said no, with its own words."""


class NotThere(Exception):
    """The webserver does not answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetProgress:
    """One asset of a backfill: numbers of partitions."""

    asset: str
    targeted: int
    in_progress: int
    materialized: int
    failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Backfill:
    """Where a backfill stands."""

    status: str
    """REQUESTED, COMPLETED_SUCCESS, COMPLETED_FAILED, ..."""
    error: str | None
    assets: tuple[AssetProgress, ...]

    @property
    def over(self) -> bool:
        """Whether it will not change any more."""
        return self.status.startswith(("COMPLETED", "FAILED", "CANCELED"))


class DagsterApi:
    """One webserver."""

    def __init__(self, url: str) -> None:
        self.url = url

    def is_ready(self) -> bool:
        """Whether the definitions are loaded. Raises DagsterError with the reason if they cannot be."""
        try:
            entries = self._ask(_LOCATIONS, {})["workspaceOrError"].get("locationEntries", [])
        except NotThere:
            return False
        for entry in entries:
            location = entry["locationOrLoadError"]
            if location is not None and location["__typename"] == "PythonError":
                raise DagsterError(_last_line(location["message"]))
        return bool(entries) and all(entry["loadStatus"] == "LOADED" for entry in entries)

    def launch_backfill(self, assets: list[str], partitions: list[str], *, title: str) -> str:
        """Start it; returns its id. Raises DagsterError."""
        params = {
            "assetSelection": [{"path": [asset]} for asset in assets],
            "partitionNames": partitions,
            "title": title,
        }
        answer = self._ask(_LAUNCH, {"params": params})["launchPartitionBackfill"]
        if "backfillId" not in answer:
            raise DagsterError(_last_line(answer.get("message", answer["__typename"])))
        backfill_id: str = answer["backfillId"]
        return backfill_id

    def backfill(self, backfill_id: str) -> Backfill:
        """Where it stands. Raises DagsterError, NotThere."""
        answer = self._ask(_BACKFILL, {"id": backfill_id})["partitionBackfillOrError"]
        if "status" not in answer:
            raise DagsterError(_last_line(answer.get("message", answer["__typename"])))
        statuses = (answer["assetBackfillData"] or {"assetBackfillStatuses": []})["assetBackfillStatuses"]
        return Backfill(
            status=answer["status"],
            error=_last_line(answer["error"]["message"]) if answer["error"] else None,
            assets=tuple(
                AssetProgress(
                    asset="/".join(status["assetKey"]["path"]),
                    targeted=status["numPartitionsTargeted"],
                    in_progress=status["numPartitionsInProgress"],
                    materialized=status["numPartitionsMaterialized"],
                    failed=status["numPartitionsFailed"],
                )
                for status in statuses
                if status
            ),
        )

    def metadata(self, asset: str, partitions: list[str]) -> dict[str, dict[str, Any]]:
        """The metadata of each partition's newest materialization."""
        variables = {"key": {"path": [asset]}, "partitions": partitions}
        found: dict[str, dict[str, Any]] = {}
        for event in self._ask(_MATERIALIZATIONS, variables)["assetOrError"].get("assetMaterializations", []):
            entries = {entry.pop("label"): next(iter(entry.values()), None) for entry in event["metadataEntries"]}
            found.setdefault(event["partition"], entries)  # newest first
        return found

    def failure(self, backfill_id: str) -> str | None:
        """Why a run of the backfill failed, in one line."""
        tags = [{"key": "dagster/backfill", "value": backfill_id}]
        results = self._ask(_FAILURES, {"filter": {"tags": tags, "statuses": ["FAILURE"]}})["runsOrError"]["results"]
        for run in results:
            events = [event for event in run["eventConnection"]["events"] if event]
            for event in events:
                if event.get("error"):
                    chain = [event["error"], *event["error"]["causes"]]
                    return f"{event['stepKey']}: {_last_line(chain[-1]['message'])}"
            for event in events:
                if event.get("message"):
                    return _last_line(event["message"])
        return None

    def _ask(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = Request(f"{self.url}/graphql", data=body, headers={"content-type": "application/json"})  # noqa: S310
        try:
            with urlopen(request, timeout=60) as response:  # noqa: S310  # our own webserver, on loopback
                answer = json.load(response)
        except (URLError, TimeoutError, ConnectionError) as error:
            raise NotThere(f"the webserver at {self.url} does not answer: {error}") from error
        if answer.get("errors"):
            raise DagsterError(_last_line(answer["errors"][0]["message"]))
        data: dict[str, Any] = answer["data"]
        return data


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else text
