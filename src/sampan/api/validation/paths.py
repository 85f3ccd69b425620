"""Paths in files: relative ones that stay inside, and those that do not climb.

Source: kubernetes/pkg/apis/core/validation/validation.go (validateLocalDescendingPath, ValidateLocalNonReservedPath)
"""

from __future__ import annotations

from sampan.api.field import ErrorList, Path


def no_backsteps(text: str, path: Path, out: ErrorList) -> None:
    if ".." in text and ".." in text.split("/"):
        out.invalid(path, text, "must not contain '..'")


def descending(text: str, path: Path, out: ErrorList) -> None:
    if text.startswith("/"):
        out.invalid(path, text, "must be a relative path")
    no_backsteps(text, path, out)


def not_reserved(text: str, path: Path, out: ErrorList) -> None:
    """Neither absolute nor climbing, and no name of the kubelet's own (`..data`)."""
    descending(text, path, out)
    if text.startswith("..") and not text.startswith("../"):
        out.invalid(path, text, "must not start with '..'")
