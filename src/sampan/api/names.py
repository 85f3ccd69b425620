"""What may be a name: of an object, a label, a port, a key. Each function says why not, in upstream's words.

An empty list means the text is good.

Source: k8s.io/apimachinery/pkg/util/validation/validation.go
"""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Callable

LABEL_FMT = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
SUBDOMAIN_FMT = LABEL_FMT + r"(\." + LABEL_FMT + ")*"
_LABEL = re.compile(LABEL_FMT, re.ASCII)
_SUBDOMAIN = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*", re.ASCII)
_LABEL_1035 = re.compile("[a-z]([-a-z0-9]*[a-z0-9])?", re.ASCII)
QUALIFIED_FMT = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_QUALIFIED = re.compile(QUALIFIED_FMT, re.ASCII)
_LABEL_VALUE = re.compile("(" + QUALIFIED_FMT + ")?", re.ASCII)
_PORT_NAME_CHARS = re.compile("[-a-z0-9]+", re.ASCII)
_ENV = re.compile("[-._a-zA-Z][-._a-zA-Z0-9]*", re.ASCII)
_KEY = re.compile("[-._a-zA-Z0-9]+", re.ASCII)
_PERCENT = re.compile("[0-9]+%", re.ASCII)
_HTTP_HEADER = re.compile("[-A-Za-z0-9]+", re.ASCII)

LABEL_MESSAGE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character"
)
SUBDOMAIN_MESSAGE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character"
)
LABEL_1035_MESSAGE = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
    "and end with an alphanumeric character"
)
QUALIFIED_MESSAGE = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character"
)
LABEL_VALUE_MESSAGE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character"
)


def _remembered(check: Callable[[str], list[str]]) -> Callable[[str], list[str]]:
    """The same few names come with every object; what was good is good. The empty answer is shared."""
    good: set[str] = set()
    nothing: list[str] = []

    @functools.wraps(check)
    def remembered(text: str) -> list[str]:
        if text in good:
            return nothing
        problems = check(text)
        if not problems and len(text) <= 316:
            if len(good) >= 8192:
                good.clear()
            good.add(text)
        return problems

    return remembered


def _regex(message: str, pattern: str, *examples: str) -> str:
    if not examples:
        return f"{message} (regex used for validation is '{pattern}')"
    # the two blanks are upstream's
    listed = ",  or ".join(f"'{example}'" for example in examples)
    return f"{message} (e.g. {listed}, regex used for validation is '{pattern}')"


def _max(length: int) -> str:
    return f"must be no more than {length} bytes"


@_remembered
def is_dns1123_label(text: str) -> list[str]:
    out = [_max(63)] if len(text.encode()) > 63 else []
    if not _LABEL.fullmatch(text):
        if _SUBDOMAIN.fullmatch(text):
            out.append("must not contain dots")
        else:
            out.append(_regex(LABEL_MESSAGE, LABEL_FMT, "my-name", "123-abc"))
    return out


@_remembered
def is_dns1123_subdomain(text: str) -> list[str]:
    out = [_max(253)] if len(text.encode()) > 253 else []
    if not _SUBDOMAIN.fullmatch(text):
        out.append(_regex(SUBDOMAIN_MESSAGE, SUBDOMAIN_FMT, "example.com"))
    return out


def is_dns1035_label(text: str) -> list[str]:
    out = [_max(63)] if len(text.encode()) > 63 else []
    if not _LABEL_1035.fullmatch(text):
        out.append(_regex(LABEL_1035_MESSAGE, "[a-z]([-a-z0-9]*[a-z0-9])?", "my-name", "abc-123"))
    return out


def is_wildcard_dns1123_subdomain(text: str) -> list[str]:
    out = [_max(253)] if len(text.encode()) > 253 else []
    if not text.startswith("*.") or not _SUBDOMAIN.fullmatch(text[2:]):
        message = (
            "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist "
            "of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character"
        )
        out.append(_regex(message, r"\*\." + SUBDOMAIN_FMT, "*.example.com"))
    return out


@_remembered
def is_qualified_name(text: str) -> list[str]:
    """A label or annotation key: `name` or `prefix/name`."""
    out: list[str] = []
    parts = text.split("/")
    if len(parts) > 2:
        message = "a qualified name " + _regex(QUALIFIED_MESSAGE, QUALIFIED_FMT, "MyName", "my.name", "123-abc")
        return [message + " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"]
    name = parts[-1]
    if len(parts) == 2:
        if not parts[0]:
            out.append("prefix part must be non-empty")
        else:
            out.extend("prefix part " + problem for problem in is_dns1123_subdomain(parts[0]))
    if not name:
        out.append("name part must be non-empty")
    elif len(name.encode()) > 63:
        out.append("name part " + _max(63))
    if not _QUALIFIED.fullmatch(name):
        out.append("name part " + _regex(QUALIFIED_MESSAGE, QUALIFIED_FMT, "MyName", "my.name", "123-abc"))
    return out


@_remembered
def is_valid_label_value(text: str) -> list[str]:
    out = [_max(63)] if len(text.encode()) > 63 else []
    if not _LABEL_VALUE.fullmatch(text):
        out.append(_regex(LABEL_VALUE_MESSAGE, "(" + QUALIFIED_FMT + ")?", "MyValue", "my_value", "12345"))
    return out


def is_fully_qualified_name(text: str) -> list[str]:
    if not text:
        return ["name part must be non-empty"]
    problems = is_dns1123_subdomain(text)
    if not problems and text.count(".") < 2:
        return ["should be a domain with at least three segments separated by dots"]
    return problems


def is_domain_prefixed_path(text: str) -> list[str]:
    domain, slash, path = text.partition("/")
    if not slash or not domain or not path:
        return ['must be a domain-prefixed path (such as "acme.io/foo")']
    problems = list(is_dns1123_subdomain(domain))
    if not re.fullmatch(r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+", path):
        problems.append(
            _regex("a valid path must consist of valid RFC 3986 path characters", r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+")
        )
    return problems


def is_valid_port_num(port: int) -> list[str]:
    return [] if 1 <= port <= 65535 else ["must be between 1 and 65535, inclusive"]


def is_in_range(value: int, low: int, high: int) -> list[str]:
    return [] if low <= value <= high else [f"must be between {low} and {high}, inclusive"]


@_remembered
def is_valid_port_name(text: str) -> list[str]:
    out: list[str] = []
    if len(text) > 15:
        out.append("must be no more than 15 characters")
    if not _PORT_NAME_CHARS.fullmatch(text):
        out.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not any("a" <= char <= "z" for char in text):
        out.append("must contain at least one letter (a-z)")
    if "--" in text:
        out.append("must not contain consecutive hyphens")
    if text and (text[0] == "-" or text[-1] == "-"):
        out.append("must not begin or end with a hyphen")
    return out


@_remembered
def is_env_var_name(text: str) -> list[str]:
    """Relaxed since 1.34: any printable ASCII but `=`."""
    if not text or any(not " " <= char <= "~" or char == "=" for char in text):
        return ["a valid environment variable name must consist only of printable ASCII characters other than '='"]
    return []


def is_c_identifier(text: str) -> list[str]:
    if re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", text, re.ASCII):
        return []
    message = "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters or '_'"
    return [_regex(message, "[A-Za-z_][A-Za-z0-9_]*", "my_name", "MY_NAME", "MyName")]


@_remembered
def is_config_map_key(text: str) -> list[str]:
    out = [_max(253)] if len(text.encode()) > 253 else []
    if not _KEY.fullmatch(text):
        message = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
        out.append(_regex(message, "[-._a-zA-Z0-9]+", "key.name", "KEY_NAME", "key-name"))
    if text == ".":
        out.append("must not be '.'")
    elif text == "..":
        out.append("must not be '..'")
    elif text.startswith(".."):
        out.append("must not start with '..'")
    return out


def is_http_header_name(text: str) -> list[str]:
    if _HTTP_HEADER.fullmatch(text):
        return []
    return [
        _regex("a valid HTTP header must consist of alphanumeric characters or '-'", "[-A-Za-z0-9]+", "X-Header-Name")
    ]


def is_percent(text: str) -> list[str]:
    if _PERCENT.fullmatch(text):
        return []
    message = "a valid percent string must be a numeric string followed by an ending '%'"
    return [_regex(message, "[0-9]+%", "1%", "93%")]


def is_ip(text: str) -> list[str]:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return ["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"]
    return []


def is_cidr(text: str) -> list[str]:
    try:
        if "/" not in text:
            raise ValueError
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return ["must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"]
    return []


def path_segment_name(text: str) -> list[str]:
    """What cannot stand in a URL path as one segment."""
    if text in (".", ".."):
        return [f"may not be '{text}'"]
    return [f"may not contain '{char}'" for char in "/%" if char in text]
