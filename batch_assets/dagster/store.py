"""BatchStore, the resource of the state and the tables: a folder, or a bucket through dagster-gcp's GCSResource."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dagster import ConfigurableResource, EnvVar
from pydantic import Field, PrivateAttr

from batch_assets.errors import ConfigError
from batch_assets.ledger import Ledger
from batch_assets.storage.local import LocalStore
from batch_assets.tables import TableStore

if TYPE_CHECKING:
    from dagster import DagsterInstance, InitResourceContext
    from google.cloud.storage import Client

    from batch_assets.storage.protocol import ObjectStore

STORE_KEY = "batch_store"
"""Resource key of the BatchStore."""


class BatchStore(ConfigurableResource):  # type: ignore[type-arg]  # it gives itself
    """Where the state and the tables are: one folder or bucket, the only truth about what was sent and paid for."""

    root: str | None = Field(
        default=None,
        description="Folder of the store, or gs://bucket/folder; default: `batch_assets` in the storage folder of "
        "Dagster's home.",
    )
    namespace: str = Field(
        default="default",
        min_length=1,
        description="Name of the deployment. Two deployments with different namespaces never touch "
        "each other's batches.",
    )
    tables: str | None = Field(
        default=None,
        description="Folder of the tables (Parquet), or gs://bucket/folder; default: `tables` in the store's folder.",
    )
    gcs: ConfigurableResource | None = Field(  # type: ignore[type-arg]  # by its base: dagster_gcp takes half a second
        default=None,
        description="`dagster_gcp.GCSResource` of the bucket; default: the project and credentials of the environment.",
    )
    hold: Literal["auto", "off"] = Field(
        default="auto",
        description="`auto`: a backfill stays in progress until its tables have landed. `off`: the tables land as "
        "well, but Dagster shows the backfill as failed.",
    )
    wait_seconds: float | None = Field(
        default=None,
        gt=0,
        description="How long a run waits itself for its batches, in seconds, for tests and for dg.materialize. "
        "Default: it does not wait, it parks.",
    )

    _default_root: Path | None = PrivateAttr(default=None)
    _client: Any = PrivateAttr(default=None)

    def setup_for_execution(self, context: InitResourceContext) -> None:
        """Find the default folder."""
        if self.root is None and context.instance is not None:
            self._default_root = default_root(context.instance)

    def check(self) -> None:
        """Raise ConfigError for a place that is known before the run, and is neither folder nor bucket."""
        for place in (self.root, self.tables):
            if place is not None and not isinstance(place, EnvVar):
                is_bucket(place)

    def object_store(self) -> ObjectStore:
        """The store. Raises ConfigError, StoreError."""
        root = self._root()
        return open_store(root, self._gcs_client() if is_bucket(root) else None)

    def ledger(self) -> Ledger:
        """The records in the store. Raises ConfigError, StoreError, UnknownFormat."""
        return Ledger.open(self.object_store(), self.namespace)

    def table_store(self) -> TableStore:
        """The published tables. Raises ConfigError."""
        root = self.tables or f"{self._root()}/tables"
        if is_bucket(root):
            from batch_assets.storage.gcs_tables import GCSTableStore  # noqa: PLC0415 -- half a second

            return GCSTableStore(root, self._gcs_client())
        return TableStore(Path(root).expanduser())

    def _gcs_client(self) -> Client:
        if self._client is None:
            self._client = gcs_client(self.gcs)
        return self._client

    def _root(self) -> str:
        if self.root is not None:
            return self.root.rstrip("/") if "://" in self.root else str(Path(self.root).expanduser())
        if self._default_root is None:
            raise ConfigError("BatchStore has no `root` and no Dagster instance to take a default from; set `root`")
        return str(self._default_root)


def open_store(root: str, client: Client | None = None) -> ObjectStore:
    """The store in a folder, or at gs://bucket/folder with `client`. Raises ConfigError, StoreError."""
    if not is_bucket(root):
        return LocalStore(Path(root).expanduser())
    from batch_assets.storage.gcs import GCSStore  # noqa: PLC0415 -- half a second, for those who need it

    return GCSStore.at(root, client or gcs_client(None))


def is_bucket(root: str) -> bool:
    """Whether a place is a bucket. Raises ConfigError for one that is neither folder nor bucket."""
    if "://" in root and not re.match(r"gs://[^/]", root):
        raise ConfigError(f"{root!r} is no place to store in; give a folder or gs://bucket/folder")
    return root.startswith("gs://")


def gcs_client(gcs: Any) -> Client:
    """The client of a GCSResource; None: of the environment. Raises ConfigError naming what is missing. No network."""
    from dagster_gcp import GCSResource  # noqa: PLC0415 -- half a second
    from google.auth.exceptions import DefaultCredentialsError  # noqa: PLC0415

    resource = GCSResource() if gcs is None else gcs
    if not hasattr(resource, "get_client"):
        raise ConfigError(f"`gcs` is a {type(resource).__name__}; give it a dagster_gcp.GCSResource(project=...)")
    try:
        client: Client = resource.get_client()
    except DefaultCredentialsError as error:
        raise ConfigError(
            "there are no Google credentials for the bucket: run `gcloud auth application-default login`, or set "
            f"GOOGLE_APPLICATION_CREDENTIALS to a key file ({' '.join(str(error).split())[:200]})"
        ) from error
    except OSError as error:  # the client's word for a project that it cannot find
        raise ConfigError(
            "there is no Google Cloud project for the bucket: set gcs=GCSResource(project=...), or the environment "
            f"variable GOOGLE_CLOUD_PROJECT ({error})"
        ) from error
    return client


def default_root(instance: DagsterInstance) -> Path:
    """`batch_assets` in the storage folder of Dagster's home. Raises ConfigError where that folder does not last."""
    if type(instance).__module__.split(".")[0] == "dagster_cloud":
        raise ConfigError("On Dagster+ no folder outlasts a run: set `root` of BatchStore to shared storage")
    return Path(instance.storage_directory()) / "batch_assets"
