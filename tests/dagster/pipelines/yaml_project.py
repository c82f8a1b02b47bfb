"""The project of examples/yaml_project, with runs that need no process for a step."""

from pathlib import Path

import dagster as dg
import support

defs = dg.Definitions.merge(
    dg.load_from_defs_folder(path_within_project=Path(support.__file__).parent),
    dg.Definitions(executor=dg.in_process_executor),
)
