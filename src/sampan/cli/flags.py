"""Kinds of values that flags have, in the form of upstream's flags. Each raises ArgumentTypeError.

Source: github.com/spf13/pflag; k8s.io/component-base/cli/flag
"""

from __future__ import annotations

import argparse

from sampan.api import durations


def boolean(text: str) -> bool:
    if text.lower() in ("true", "t", "1"):
        return True
    if text.lower() in ("false", "f", "0"):
        return False
    raise argparse.ArgumentTypeError(f'invalid boolean value "{text}"')


def duration(text: str) -> int:
    """`48h0m0s` in seconds."""
    try:
        return int(durations.seconds(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def listed(text: str) -> tuple[str, ...]:
    return tuple(part for part in text.split(",") if part)


def pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise argparse.ArgumentTypeError(f"{text} must be formatted as key=value")
    return key, value
