"""Names of certificate signers, and of what belongs to one.

Source: kubernetes/pkg/apis/core/validation/{names,validation}.go (ValidateSignerName, ValidateClusterTrustBundleName,
ValidateUserAnnotations), pkg/apis/certificates/types.go
"""

from __future__ import annotations

from collections.abc import Callable

from sampan.api import names
from sampan.api.field import ErrorList, Path, go_quote

DAY, QUARTER = 86400, 91 * 86400
_SHAPE = "must be a fully qualified domain and path of the form 'example.com/signer-name'"
_MAX_DOMAIN, _MAX_PATH = 253, 253 + 63 + 1


def signer_name(name: str, path: Path, out: ErrorList) -> None:
    """`domain/path`: a domain of two segments at least, then dotted names."""
    if not name:
        out.required(path, "")
        return
    segments = name.split("/")
    if len(segments) != 2:
        out.invalid(path, name, _SHAPE)
        return
    domain, rest = segments
    if len(domain.encode()) > _MAX_DOMAIN:
        out.too_long(path, _MAX_DOMAIN)
    _labels(domain, names.is_dns1123_label, path, out)
    if "." not in domain:
        out.invalid(path, domain, "should be a domain with at least two segments separated by dots")
    _labels(rest, names.is_dns1123_subdomain, path, out)
    if len(name.encode()) > _MAX_DOMAIN + _MAX_PATH + 1:
        out.too_long(path, _MAX_DOMAIN + _MAX_PATH + 1)


def _labels(text: str, check: Callable[[str], list[str]], path: Path, out: ErrorList) -> None:
    """The first wrong one says enough."""
    for label in text.split("."):
        problems = check(label)
        if problems:
            out.each(path, text, [f"validating label {go_quote(label)}: {problem}" for problem in problems])
            return


def is_kubernetes_signer(name: str) -> bool:
    domain = name.partition("/")[0]
    return domain == "kubernetes.io" or domain.endswith(".kubernetes.io")


def cluster_trust_bundle_name(name: str, signer: str) -> list[str]:
    """A bundle of a signer is called after it, with `:` for `/`."""
    if not signer:
        if ":" in name:
            return ['ClusterTrustBundle without signer name must not have ":" in its name']
        return list(names.is_dns1123_subdomain(name))
    prefix = signer.replace("/", ":") + ":"
    if not name.startswith(prefix):
        return [f"ClusterTrustBundle for signerName {signer} must be named with prefix {prefix}"]
    return list(names.is_dns1123_subdomain(name[len(prefix) :]))


def user_annotations(annotations: dict[str, str], path: Path, out: ErrorList) -> None:
    total = 0
    for key, value in sorted(annotations.items()):
        out.each(path @ key, key, names.is_qualified_name(key.lower()))
        if "/" not in key:
            out.invalid(path @ key, key, "must be a fully qualified domain-prefixed name")
        total += len(key.encode()) + len(value.encode())
    if total > 256 * 1024:
        out.too_long(path, 256 * 1024)
