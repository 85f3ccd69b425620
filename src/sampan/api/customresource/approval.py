"""Groups of the Kubernetes community are not for everybody: a definition in one says where it was approved.

Source: apiextensions-apiserver/pkg/apihelpers/helpers.go (GetAPIApprovalState)
"""

from __future__ import annotations

from urllib.parse import urlsplit

from sampan.api.field import ErrorList, Path
from sampan.api.kind import Obj

ANNOTATION = "api-approved.kubernetes.io"
_SEE = "see https://github.com/kubernetes/enhancements/pull/1111"
_NEEDS = f'protected groups must have approval annotation "{ANNOTATION}"'


def is_protected(group: str) -> bool:
    return group in ("k8s.io", "kubernetes.io") or group.endswith((".k8s.io", ".kubernetes.io"))


def approval(annotations: dict[str, str]) -> tuple[str, str, str]:
    """Status, reason and message of the condition KubernetesAPIApprovalPolicyConformant."""
    text = annotations.get(ANNOTATION, "")
    if not text:
        return "False", "MissingAnnotation", f"{_NEEDS}, {_SEE}"
    if text.startswith("unapproved"):
        return "False", "UnapprovedAnnotation", f'not approved: "{text}"'
    try:
        url = urlsplit(text)
        good = bool(url.scheme and url.netloc) and " " not in text
    except ValueError:
        good = False
    if good:
        return "True", "ApprovedAnnotation", f"approved in {text}"
    return "False", "InvalidAnnotation", f'{_NEEDS} with either a URL or a reason starting with "unapproved", {_SEE}'


def check_approval(crd: Obj, old: Obj | None, out: ErrorList) -> None:
    """A new definition must say it; what an existing one says badly may stay."""
    if not is_protected(crd["spec"].get("group", "")):
        return
    annotations = crd["metadata"].get("annotations") or {}
    _, reason, message = approval(annotations)
    if old is not None and approval(old["metadata"].get("annotations") or {})[1] == reason:
        return
    path = Path("metadata", "annotations") @ ANNOTATION
    if reason == "InvalidAnnotation":
        out.invalid(path, annotations[ANNOTATION], message)
    elif reason == "MissingAnnotation":
        out.required(path, message)
