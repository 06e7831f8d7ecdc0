"""Reading a report from the disk, where anybody may have written it."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from ..errors import CopyScopeError, describe
from ..files.atomic import read_plain
from ..store.runs import REPORT_FILES
from .schema import SCHEMA_VERSION, Report

_MAX_BYTES = 1 << 30


def load_report(path: Path) -> Report:
    """Read a report.json, or that of a run folder. Links, pipes and files of more than a GiB are not opened.

    Raises:
        CopyScopeError: the file is missing, no JSON, no report of this schema version, or without any results.
    """
    try:
        file = path / REPORT_FILES[0] if path.is_dir() else path
        report = Report.model_validate_json(read_plain(file, _MAX_BYTES))
    except OSError as error:
        raise CopyScopeError(
            f"The report {path} cannot be read ({error.strerror or error}); check its name."
        ) from error
    except ValidationError as error:
        raise CopyScopeError(f"{path} is no CopyScope report of schema {SCHEMA_VERSION}: {describe(error)}.") from error
    except ValueError as error:  # a null character in the name
        raise CopyScopeError(f"The report {path} cannot be read ({error}); check its name.") from error
    if not report.players or not report.coalitions:
        raise CopyScopeError(f"The report {path} has no players or no coalitions; it is not whole.")
    return report
