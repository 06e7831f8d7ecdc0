"""A report in a notebook: its tables, its HTML, its bars, and reading it from where anybody may have written it."""

from __future__ import annotations

import html.parser
import json
import os
from pathlib import Path
from typing import Any

import pytest

import copyscope_core as cs
from copyscope_core.errors import CopyScopeError
from copyscope_core.report import notebook
from copyscope_core.report.build import write_report

from .test_build import full_report

NASTY = "<script>alert(1)</script>$\\frac{&\u202e\x1b[31m"


def nasty_report() -> cs.Report:
    """A report in which every text is markup."""
    data = full_report(seeds=[0, 1]).model_dump()
    data["verdict"]["sentence"] = data["statement"] = data["created"] = NASTY
    for item in [*data["players"], *data["locked"]]:
        item["name"] = item["kind"] = NASTY
    data["warnings"] = [{"code": NASTY, "message": NASTY}]
    return cs.Report.model_validate(data)


class Tags(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.found.add(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_html_tells_the_result_and_is_only_a_table() -> None:
    report = full_report()
    parsed = Tags()
    parsed.feed(report._repr_html_())
    assert parsed.found <= {"div", "p", "strong", "table", "thead", "tbody", "tr", "th", "td"}
    assert report.headline in parsed.text
    assert all(player.name in parsed.text for player in report.players)
    assert "Locked, not measured: sd15" in parsed.text
    assert "not a finding of infringement" in parsed.text


def test_html_escapes_everything() -> None:
    parsed = Tags()
    shown = nasty_report()._repr_html_()
    parsed.feed(shown)
    assert "script" not in parsed.found
    assert "<script>alert(1)</script>" in parsed.text
    assert not {"\u202e", "\x1b"} & set(shown)


def test_many_players_are_cut() -> None:
    data = full_report().model_dump()
    data["players"] = [{**data["players"][0], "name": f"p{i}"} for i in range(60)]
    report = cs.Report.model_validate(data)
    assert "And 10 components more." in report._repr_html_()
    assert "p59" not in report._repr_html_()


def test_text_and_short_form() -> None:
    report = full_report()
    assert str(report).startswith(report.headline)
    assert repr(report) == f"<Report of {report.created}: 3 players, 8 coalitions>"


def test_pandas_tables() -> None:
    pytest.importorskip("pandas", reason="pandas is not installed")
    report = full_report()
    players = report.to_pandas()
    assert list(players["name"]) == [player.name for player in report.players]
    assert list(players["shapley"]) == [player.shapley for player in report.players]
    assert players["shapley"].sum() == pytest.approx(report.coalitions[-1].value)
    ends = report.players[0].shapley_interval or [None, None]
    assert [players.loc[0, "shapley_low"], players.loc[0, "shapley_high"]] == ends
    assert not [column for column in players.columns if column.endswith("_interval")]
    coalitions = report.to_pandas("coalitions")
    assert list(coalitions["mask"]) == list(range(8))
    assert list(coalitions["fid"]) == [item.fid for item in report.coalitions]
    assert "image_files" not in coalitions.columns
    with pytest.raises(cs.CopyScopeError, match="no table 'games'; choose one of players, coalitions"):
        report.to_pandas("games")  # type: ignore[arg-type]


@pytest.fixture
def pyplot() -> Any:
    matplotlib = pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    yield pyplot
    pyplot.close("all")


def test_plot(pyplot: Any) -> None:
    report = full_report(seeds=[0, 1, 2, 3, 4, 5])
    axes = report.plot()
    ranked = report.ranked()
    assert [bar.get_width() for bar in axes.patches] == [player.shapley for player in ranked]
    assert [label.get_text() for label in axes.get_yticklabels()] == [player.name for player in ranked]
    assert "FID points" in axes.get_xlabel()
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the first on top
    _, own = pyplot.subplots()
    assert report.plot(own) is own


def test_plot_of_nasty_names(pyplot: Any, tmp_path: Path) -> None:
    nasty_report().plot().figure.savefig(tmp_path / "plot.png")


@pytest.mark.parametrize(
    ("call", "library"), [("to_pandas", "pandas"), ("plot", "matplotlib")], ids=["pandas", "matplotlib"]
)
def test_a_missing_library_is_a_sentence(call: str, library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ImportError(name)

    report = full_report()
    monkeypatch.setattr(notebook.importlib, "import_module", missing)
    with pytest.raises(CopyScopeError, match=f"needs the library {library}: pip install {library}"):
        getattr(report, call)()


def test_load_takes_the_file_or_its_folder(tmp_path: Path) -> None:
    report = full_report()
    path = write_report(report, tmp_path)
    for name in (path, str(path), tmp_path, str(tmp_path)):
        assert cs.Report.load(name) == report


def test_load_refuses_what_is_no_report(tmp_path: Path) -> None:
    path = write_report(full_report(), tmp_path)
    data = json.loads(path.read_text(encoding="utf-8"))
    bad = {
        "nothing": b"",
        "markup": b"<html>",
        "deep": b"[" * 100_000,
        "list": b"[]",
        "infinite": path.read_bytes().replace(b'"efficiency_gap": ', b'"efficiency_gap": Infinity, "x": '),
        "later": json.dumps({**data, "schema_version": "9.0"}).encode(),
        "empty": json.dumps({**data, "players": []}).encode(),
        "no coalitions": json.dumps({**data, "coalitions": []}).encode(),
    }
    for name, content in bad.items():
        file = tmp_path / f"{name}.json"
        file.write_bytes(content)
        with pytest.raises(cs.CopyScopeError) as caught:
            cs.Report.load(file)
        assert "\n" not in str(caught.value)
    for missing in (tmp_path / "none", tmp_path / "a\0b"):
        with pytest.raises(cs.CopyScopeError, match="cannot be read"):
            cs.Report.load(missing)


@pytest.mark.skipif(os.name != "posix", reason="makes links and pipes")
def test_load_opens_no_links_and_no_pipes(tmp_path: Path) -> None:
    path = write_report(full_report(), tmp_path)
    link, pipe = tmp_path / "link.json", tmp_path / "pipe.json"
    link.symlink_to(path)
    os.mkfifo(pipe)
    for name in (link, pipe):
        with pytest.raises(cs.CopyScopeError, match="not a plain file"):
            cs.Report.load(name)
