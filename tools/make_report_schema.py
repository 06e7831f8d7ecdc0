"""Write docs/report.schema.json from the report's models: ``python -m tools.make_report_schema``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "docs" / "report.schema.json"


def make_schema() -> dict[str, Any]:
    """JSON schema (draft 2020-12) of ``report.json``."""
    from copyscope_core.report.report import Report
    from copyscope_core.report.schema import SCHEMA_VERSION

    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:copyscope:report:{SCHEMA_VERSION}",
        **Report.model_json_schema(mode="serialization"),
    }


def schema_text() -> str:
    """The schema as it is committed."""
    return json.dumps(make_schema(), ensure_ascii=False, indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    TARGET.write_text(schema_text(), encoding="utf-8")
    sys.stdout.write(f"{TARGET}\n")
