"""YAML that a user has named: read, or told in one line with the file and the line that is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from kubereach.model.errors import UsageError


def mapping_in(file: Path, what: str, *, unreadable: str, malformed: str) -> dict[str, Any] | None:
    """The mapping in the file; None when something else is in it. `what` it should be, with its article.

    Raises `UsageError` for a file that cannot be read and for what is no YAML, with the remedy for either.
    """
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}", unreadable) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise UsageError(f"{file}{line}: not {what}: malformed YAML", malformed) from None
    return content if isinstance(content, dict) else None
