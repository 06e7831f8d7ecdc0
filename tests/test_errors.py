"""CopyScope's errors: their own kind, so that nothing takes them for another's ValueError."""

from __future__ import annotations

from pathlib import Path

import pytest

from copyscope_core.errors import CopyScopeError, WorkflowError
from copyscope_core.features.local_models import _MAX_JSON_BYTES, _read_json
from copyscope_core.workflow.read import MAX_WORKFLOW_BYTES, read_workflow


def test_an_error_of_copyscope_is_no_value_error() -> None:
    assert CopyScopeError.__mro__[1] is Exception


def test_a_file_that_is_too_large_is_not_called_damaged(tmp_path: Path) -> None:
    """The handlers of JSON's ValueError stand around these checks."""
    path = tmp_path / "config.json"
    with path.open("wb") as stream:
        stream.truncate(max(_MAX_JSON_BYTES, MAX_WORKFLOW_BYTES) + 1)
    with pytest.raises(CopyScopeError, match="larger than"):
        _read_json(path)
    with pytest.raises(WorkflowError, match="larger than"):
        read_workflow(path)
