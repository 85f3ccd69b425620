"""The string formats that are checked. Others are annotations.

Source: k8s.io/kube-openapi/pkg/validation/strfmt; apiextensions-apiserver/pkg/apiserver/validation/formats.go
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable
from datetime import date
from urllib.parse import urlsplit

from sampan.api import names
from sampan.api.times import parse_time

_HOST = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,62})?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,62})?)*\.?", re.ASCII)
_EMAIL = re.compile(r"[^@\s\"<>()\[\]:;,\\]+@[^@\s]+", re.ASCII)
_UUID = re.compile(r"[a-f0-9]{8}-?[a-f0-9]{4}-?([0-9a-f])[a-f0-9]{3}-?([a-f0-9])[a-f0-9]{3}-?[a-f0-9]{12}", re.I)
_MAC = re.compile(r"(?:[0-9a-f]{2}([:-]))(?:[0-9a-f]{2}\1){4}(?:[0-9a-f]{2}\1[0-9a-f]{2}\1)?[0-9a-f]{2}", re.I)
_DURATION = re.compile(
    r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)\s*(?:ns|nano|us|µs|μs|micro|ms|milli|s|sec|m|min|h|hr|hour|d|day|w|week)s?\s*"
)
_HEX_COLOUR = re.compile(r"#?(?:[0-9a-fA-F]{3}|[0-9a-fA-F]{6})")
_RGB_COLOUR = re.compile(r"rgb\(\s*(\d{1,3})\s*,\s*(\d{1,3})\s*,\s*(\d{1,3})\s*\)")


def _uuid(version: str) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        match = _UUID.fullmatch(text)
        if match is None:
            return False
        return not version or (match[1] == version and (version == "3" or match[2].lower() in "89ab"))

    return check


def _duration(text: str) -> bool:
    at = 0
    while at < len(text):
        match = _DURATION.match(text, at)
        if match is None:
            return False
        at = match.end()
    return at > 0


def _tries(parse: Callable[[str], object]) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        try:
            parse(text)
        except (ValueError, binascii.Error):
            return False
        return True

    return check


def _uri(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return bool(parts.scheme) or text.startswith("/")


def _date(text: str) -> object:
    if len(text) != 10:
        raise ValueError(text)
    return date.fromisoformat(text)


def _luhn(text: str) -> bool:
    digits = re.sub(r"[\s-]", "", text)
    if not (digits.isascii() and digits.isdigit() and 13 <= len(digits) <= 19):
        return False
    total = 0
    for index, char in enumerate(reversed(digits)):
        value = int(char) * (1 + index % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def _isbn(size: int) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        digits = re.sub(r"[\s-]", "", text)
        if size == 10 and re.fullmatch(r"\d{9}[\dX]", digits, re.ASCII):
            return sum((10 - i) * (10 if c == "X" else int(c)) for i, c in enumerate(digits)) % 11 == 0
        if size == 13 and re.fullmatch(r"\d{13}", digits, re.ASCII):
            return sum(int(c) * (3 if i % 2 else 1) for i, c in enumerate(digits)) % 10 == 0
        return False

    return check


def _ip4(text: str) -> bool:
    return _tries(ipaddress.IPv4Address)(text)


FORMATS: dict[str, Callable[[str], bool]] = {
    "bsonobjectid": lambda text: re.fullmatch(r"[0-9a-fA-F]{24}", text) is not None,
    "uri": _uri,
    "email": lambda text: _EMAIL.fullmatch(text) is not None,
    "hostname": lambda text: 0 < len(text) <= 255 and _HOST.fullmatch(text) is not None,
    "ipv4": _ip4,
    "ipv6": lambda text: "%" not in text and _tries(ipaddress.IPv6Address)(text),
    "cidr": lambda text: "/" in text and _tries(lambda t: ipaddress.ip_network(t, strict=False))(text),
    "mac": lambda text: _MAC.fullmatch(text) is not None,
    "uuid": _uuid(""),
    "uuid3": _uuid("3"),
    "uuid4": _uuid("4"),
    "uuid5": _uuid("5"),
    "isbn": lambda text: _isbn(10)(text) or _isbn(13)(text),
    "isbn10": _isbn(10),
    "isbn13": _isbn(13),
    "creditcard": _luhn,
    "ssn": lambda text: re.fullmatch(r"\d{3}[- ]?\d{2}[- ]?\d{4}", text, re.ASCII) is not None,
    "hexcolor": lambda text: _HEX_COLOUR.fullmatch(text) is not None,
    "rgbcolor": lambda text: bool((m := _RGB_COLOUR.fullmatch(text)) and all(int(part) < 256 for part in m.groups())),
    "byte": _tries(lambda text: base64.b64decode(text, validate=True)),
    "password": lambda text: True,
    "date": _tries(_date),
    "duration": _duration,
    "datetime": _tries(parse_time),
    "date-time": _tries(parse_time),
    "k8s-short-name": lambda text: not names.is_dns1123_label(text),
    "k8s-long-name": lambda text: not names.is_dns1123_subdomain(text),
}
NUMBERS = {"int32", "int64", "float", "double"}
