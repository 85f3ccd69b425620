"""PodTemplate.

Source: kubernetes/pkg/registry/core/podtemplate/strategy.go
"""

from __future__ import annotations

from sampan.api.core_v1.pod_spec import default_pod_template
from sampan.api.field import ErrorList, Path
from sampan.api.kind import NAME, Cell, Column, Kind, Obj
from sampan.api.table import containers_cells, labels_text
from sampan.api.validation import pod_warnings
from sampan.api.validation.pods import pod_template


class PodTemplate(Kind):
    columns = (NAME, Column("Containers"), Column("Images"), Column("Pod Labels"))

    def default(self, obj: Obj) -> None:
        default_pod_template(obj.setdefault("template", {}))

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        pod_template(obj["template"], Path("template"), out)
        return out

    def warnings(self, obj: Obj, old: Obj | None) -> list[str]:
        return pod_warnings.template(obj["template"], Path("template")) if pod_warnings.due(obj, old) else []

    def row(self, obj: Obj, now: float) -> list[Cell]:
        template = obj["template"]
        containers, images = containers_cells(template["spec"])
        return [obj["metadata"]["name"], containers, images, labels_text(template.get("metadata", {}).get("labels"))]
