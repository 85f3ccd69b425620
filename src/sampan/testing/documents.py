"""What `apply` is given: objects, or where they are written.

Source: k8s.io/cli-runtime/pkg/resource/{builder,visitor}.go
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

Obj = dict[str, Any]
SUFFIXES = (".json", ".yaml", ".yml")


def documents(source: str | Path | Obj | list[Obj]) -> list[Obj]:
    """The objects in a file, in the files of a directory, in YAML text, or as they are; Lists are opened. Raises
    FileNotFoundError, ValueError."""
    if isinstance(source, (dict, list)):
        found = [source] if isinstance(source, dict) else source
    # no file's name has lines or begins with a brace
    elif isinstance(source, str) and ("\n" in source or source.lstrip().startswith("{")):
        found = _loaded(source, "the text")
    elif Path(source).is_dir():
        files = sorted(each for each in Path(source).iterdir() if each.suffix in SUFFIXES)
        if not files:
            raise ValueError(f"error reading [{source}]: recognized file extensions are [{' '.join(SUFFIXES)}]")
        found = [item for each in files for item in _loaded(each.read_text(), str(each))]
    else:
        found = _loaded(Path(source).read_text(), str(source))
    for item in found:
        if not isinstance(item, dict):
            raise ValueError(f"not an object: {item!r}")
    return [inner for item in found for inner in (item["items"] if _is_list(item) else [item])]


def _is_list(item: Obj) -> bool:
    return str(item.get("kind", "")).endswith("List") and isinstance(item.get("items"), list)


def _loaded(text: str, where: str) -> list[Any]:
    """Raises ValueError."""
    try:
        return [item for item in yaml.safe_load_all(text) if item]
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ValueError(f"{where}{line}: error parsing YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise ValueError(f"{where}: error parsing YAML: {error}") from None


def check(obj: Obj) -> None:
    """Raises ValueError for what cannot be applied, as kubectl says it."""
    missing = [f"{key} not set" for key in ("apiVersion", "kind") if not obj.get(key)]
    if missing:
        raise ValueError(f"error validating data: [{', '.join(missing)}]: {obj!r}")
    meta = obj.get("metadata") or {}
    if not meta.get("name"):
        prefix = meta.get("generateName")
        raise ValueError(
            f"from {prefix}: cannot use generate name with apply"
            if prefix
            else f"resource name may not be empty: {obj!r}"
        )
