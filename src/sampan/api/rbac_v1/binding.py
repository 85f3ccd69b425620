"""What RoleBinding and ClusterRoleBinding have in common.

Source: kubernetes/pkg/apis/rbac/{v1/defaults,validation/validation}.go; printRoleBinding
"""

from __future__ import annotations

from sampan.api.field import ErrorList, Path
from sampan.api.kind import AGE, NAME, Cell, Column, Kind, Obj
from sampan.api.names import is_dns1123_subdomain, path_segment_name
from sampan.api.table import age

GROUP = "rbac.authorization.k8s.io"


class AnyBinding(Kind):
    create_on_update = True
    has_generation = False
    columns = (
        NAME,
        Column("Role"),
        AGE,
        Column("Users", priority=1),
        Column("Groups", priority=1),
        Column("ServiceAccounts", priority=1),
    )
    roles: tuple[str, ...] = ("ClusterRole",)

    def default(self, obj: Obj) -> None:
        ref = obj.setdefault("roleRef", {})
        if not ref.get("apiGroup"):
            ref["apiGroup"] = GROUP
        for subject in obj.get("subjects") or ():
            if not subject.get("apiGroup") and subject.get("kind") in ("User", "Group"):
                subject["apiGroup"] = GROUP

    def validate_name(self, name: str, generate: bool) -> list[str]:
        return path_segment_name(name)

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        ref, path = obj.get("roleRef") or {}, Path("roleRef")
        if ref.get("apiGroup") != GROUP:
            out.not_supported(path / "apiGroup", ref.get("apiGroup", ""), (GROUP,))
        if ref.get("kind") not in self.roles:
            out.not_supported(path / "kind", ref.get("kind", ""), self.roles)
        if not ref.get("name"):
            out.required(path / "name", "")
        else:
            out.each(path / "name", ref["name"], path_segment_name(ref["name"]))
        for index, subject in enumerate(obj.get("subjects") or ()):
            self._subject(subject, Path("subjects") @ index, out)
        return out

    def _subject(self, subject: Obj, path: Path, out: ErrorList) -> None:
        kind = subject.get("kind", "")
        if not subject.get("name"):
            out.required(path / "name", "")
        if kind == "ServiceAccount":
            name = subject.get("name", "")
            if name:
                out.each(path / "name", name, is_dns1123_subdomain(name))
            if subject.get("apiGroup"):
                out.not_supported(path / "apiGroup", subject["apiGroup"], ("",))
            if not subject.get("namespace") and not self.names.namespaced:
                out.required(path / "namespace", "")
        elif kind in ("User", "Group"):
            if subject.get("apiGroup") != GROUP:
                out.not_supported(path / "apiGroup", subject.get("apiGroup", ""), (GROUP,))
        else:
            out.not_supported(path / "kind", kind, ("Group", "ServiceAccount", "User"))

    def validate_update(self, obj: Obj, old: Obj) -> ErrorList:
        out = self.validate(obj)
        if obj.get("roleRef") != old.get("roleRef"):
            out.invalid(Path("roleRef"), obj.get("roleRef"), "cannot change roleRef")
        return out

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta, ref = obj["metadata"], obj.get("roleRef") or {}
        by_kind: dict[str, list[str]] = {"User": [], "Group": [], "ServiceAccount": []}
        for subject in obj.get("subjects") or ():
            name = subject.get("name", "")
            shown = f"{subject.get('namespace', '')}/{name}" if subject.get("kind") == "ServiceAccount" else name
            by_kind.get(subject.get("kind", ""), []).append(shown)
        listed = [", ".join(by_kind[kind]) for kind in ("User", "Group", "ServiceAccount")]
        return [
            meta["name"],
            f"{ref.get('kind', '')}/{ref.get('name', '')}",
            age(meta.get("creationTimestamp"), now),
            *listed,
        ]
