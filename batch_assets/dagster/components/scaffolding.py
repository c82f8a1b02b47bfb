"""`dg scaffold defs`: a commented YAML that loads as it stands."""

from importlib.resources import files
from typing import Any

from dagster.components import Scaffolder, ScaffoldRequest, scaffold_component


class CommentedScaffolder(Scaffolder[Any]):
    """Writes the file `scaffold/<component>.yaml` of this package."""

    def scaffold(self, request: ScaffoldRequest[Any]) -> None:
        """Write `defs.yaml`, or add to it; as Dagster does where Python is asked for."""
        if request.scaffold_format != "yaml":
            scaffold_component(request)
            return
        template = files(__package__) / "scaffold" / f"{request.type_name.rsplit('.', 1)[-1]}.yaml"
        folder = request.target_path.parent if request.append else request.target_path
        written = (
            template.read_text(encoding="utf-8")
            .replace("TYPE", request.type_name, 1)
            .replace("NAME", folder.name.replace("-", "_"))
        )
        if request.append:
            with request.target_path.open("a", encoding="utf-8") as file:
                file.write(f"---\n{written}")
        else:
            (folder / "defs.yaml").write_text(written, encoding="utf-8")
