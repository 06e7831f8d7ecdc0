"""The report of an audit: what ``report.json`` holds, with the ways to read it and to look at it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import ValidationError

from ..errors import CopyScopeError, describe
from ..files.atomic import read_plain
from ..store.runs import REPORT_FILE
from .schema import SCHEMA_VERSION, ReportData

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame

MAX_REPORT_BYTES = 1 << 30


class Report(ReportData):
    """The whole report of one audit or scoring."""

    @classmethod
    def load(cls, path: str | Path) -> Report:
        """Read a ``report.json``, or that of a run folder. Whoever wrote it need not be trusted.

        Links, pipes and files of more than a GiB are not opened.

        Raises:
            CopyScopeError: the file is missing, no JSON, no report of this schema version, or without any results.
        """
        path = Path(path)
        try:
            file = path / REPORT_FILE if path.is_dir() else path
            data = read_plain(file, MAX_REPORT_BYTES)
        except OSError as error:
            raise CopyScopeError(
                f"The report {path} cannot be read ({error.strerror or error}); check its name."
            ) from error
        except ValueError as error:  # a null character in the name
            raise CopyScopeError(f"The report {path} cannot be read ({error}); check its name.") from error
        return cls.parse(data, str(path))

    @classmethod
    def parse(cls, data: bytes, name: str) -> Report:
        """Read the bytes of a ``report.json``; ``name`` is what messages call it.

        Raises:
            CopyScopeError: they are no report of this schema version, or without any results.
        """
        try:
            report = cls.model_validate_json(data)
        except ValidationError as error:
            raise CopyScopeError(
                f"{name} is no CopyScope report of schema {SCHEMA_VERSION}: {describe(error)}."
            ) from error
        if not report.players or not report.coalitions:
            raise CopyScopeError(f"The report {name} has no players or no coalitions; it is not whole.")
        return report

    def to_pandas(self, table: Literal["players", "coalitions"] = "players") -> DataFrame:
        """The players, or the coalitions, as a table: a row each, the columns named as in ``report.json``.

        An interval becomes two columns, ``…_low`` and ``…_high``; the list of a coalition's images is left out.

        Raises:
            CopyScopeError: there is no such table, or the library pandas is missing.
        """
        from .notebook import frame

        return frame(self, table)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw each player's Shapley value as a bar, the largest on top, with its 95% interval as a line.

        Args:
            ax: where to draw; None: in a new figure.

        Returns:
            The axes that were drawn in.

        Raises:
            CopyScopeError: the library matplotlib is missing.
        """
        from .notebook import plot

        return plot(self, ax)

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        from .notebook import html

        return html(self)

    def __str__(self) -> str:
        from .text import summary_text

        return summary_text(self)

    def __repr__(self) -> str:
        return f"<Report of {self.created}: {len(self.players)} players, {len(self.coalitions)} coalitions>"
