"""Named formats: `format.dns1123Label().validate(text)` says what is wrong, or nothing.

Source: k8s.io/apiserver/pkg/cel/library/format.go, k8s.io/kube-openapi/pkg/validation/strfmt
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date

from sampan.api import names
from sampan.api.cel.functions import Library
from sampan.api.cel.library.urls import url_error
from sampan.api.cel.times import Timestamp
from sampan.api.cel.values import NONE, Opaque, Optional

formats = Library()
_UUID = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}", re.IGNORECASE | re.ASCII)
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{4})", re.ASCII)


class Format(Opaque):
    """`regex_size`: how long upstream takes its regular expression to be, for the cost."""

    __slots__ = ("check", "name", "regex_size")
    type_name = "kubernetes.NamedFormat"

    def __init__(self, name: str, check: Callable[[str], list[str]], regex_size: int) -> None:
        self.name = name
        self.check = check
        self.regex_size = regex_size

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Format) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)


def _prefix(check: Callable[[str], list[str]]) -> Callable[[str], list[str]]:
    """The start of a name may end with a dash: something comes after it."""
    return lambda text: check(f"{text[:-1]}a" if len(text) > 1 and text.endswith("-") else text)


def _or(message: str, good: Callable[[str], bool]) -> Callable[[str], list[str]]:
    return lambda text: [] if good(text) else [message]


def _is_date(text: str) -> bool:
    try:
        return len(text) == 10 and bool(date.fromisoformat(text))
    except ValueError:
        return False


def _is_time(text: str) -> bool:
    try:
        Timestamp.parse(text.replace("t", "T").replace("z", "Z"))
    except ValueError:
        return False
    return True


def _uri(text: str) -> list[str]:
    error = url_error(text)
    return [] if error is None else [error]


_FORMATS = {
    "dns1123Label": Format("DNS1123Label", names.is_dns1123_label, 30),
    "dns1123Subdomain": Format("DNS1123Subdomain", names.is_dns1123_subdomain, 60),
    "dns1035Label": Format("DNS1035Label", names.is_dns1035_label, 30),
    "qualifiedName": Format("QualifiedName", names.is_qualified_name, 60),
    "portName": Format("PortName", names.is_valid_port_name, 20),
    "dns1123LabelPrefix": Format("DNS1123LabelPrefix", _prefix(names.is_dns1123_label), 30),
    "dns1123SubdomainPrefix": Format("DNS1123SubdomainPrefix", _prefix(names.is_dns1123_subdomain), 60),
    "dns1035LabelPrefix": Format("DNS1035LabelPrefix", _prefix(names.is_dns1035_label), 30),
    "labelValue": Format("LabelValue", names.is_valid_label_value, 40),
    "uri": Format("URI", _uri, 1123),
    "uuid": Format("uuid", _or("does not match the UUID format", lambda text: bool(_UUID.fullmatch(text))), 82),
    "byte": Format("byte", _or("invalid base64", lambda text: bool(_BASE64.fullmatch(text))), 76),
    "date": Format("date", _or("invalid date", _is_date), 101),
    "datetime": Format("datetime", _or("invalid datetime", _is_time), 101),
}


def _validate(format: Format, text: str) -> Optional:
    problems = format.check(text)
    return Optional(list(problems)) if problems else NONE


_F = Format.type_name
for _name, _format in _FORMATS.items():
    formats.function(f"format.{_name}", f"format.{_name}", f"-> {_F}", lambda found=_format: found)
formats.function(
    "format.named",
    "format-named",
    f"string -> optional({_F})",
    lambda name: Optional(_FORMATS[name]) if name in _FORMATS else NONE,
)
formats.member("validate", "format-validate", f"{_F}, string -> optional(list(string))", _validate)
