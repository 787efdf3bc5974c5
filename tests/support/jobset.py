"""The schema of JobSet, which is no part of Kubernetes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema

SCHEMA = Path(__file__).parents[1] / "launch" / "jobset.schema.json"


def check_jobset(document: dict[str, Any]) -> None:
    """Raise ValidationError where a document is no JobSet, whatever its Jobs' templates are."""
    jsonschema.validate(document, json.loads(SCHEMA.read_text(encoding="utf-8")))
