"""The report's numbers and names as text, and the whole report as a plain-text table."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from ..distances.registry import DISTANCES, STYLE_INFO
from .schema import CoalitionResult, PlayerResult, ReportData

NAME_COLUMNS = 40
TITLE_COLUMNS = 30
MENTIONS_NAMED = 3
NO_NUMBER = "Anybody can write or remove what a model file says of itself; no number is made of it"

KINDS = {
    "lora": "LoRA", "vae": "VAE", "controlnet": "ControlNet", "unet": "UNET", "clip": "CLIP",
    "ip_adapter": "IP-Adapter", "instantid": "InstantID", "pulid": "PuLID", "photomaker": "PhotoMaker",
    "unclip": "unCLIP", "gligen": "GLIGEN",
}  # fmt: skip
"""Kinds of components that are written otherwise than their names in the data."""


def number(value: float | None, digits: int = 2) -> str:
    """A number with a real minus sign, and no minus for what rounds to zero; a dash for null."""
    if value is None:
        return "–"
    return f"{round(value, digits) + 0.0:,.{digits}f}".replace("-", "−")


def signed(value: float | None, digits: int = 2) -> str:
    """The same with a plus sign for what does not round to zero."""
    text = number(value, digits)
    return f"+{text}" if value is not None and round(value, digits) > 0 else text


def towards(value: float | None, digits: int = 2) -> str:
    """A gain with its direction in words: 80.4 nearer, 46.2 farther; a dash for null."""
    if value is None:
        return "–"
    whither = "" if round(value, digits) == 0 else " nearer" if value > 0 else " farther"
    return f"{number(abs(value), digits)}{whither}"


def towards_interval(ends: Sequence[float] | None, digits: int = 2) -> str:
    """An interval of gains with its directions: 8.5 to 29.9 nearer, 8.5 farther to 19.2 nearer; a dash for null."""
    if ends is None:
        return "–"
    low, high = ends
    if low < 0 < high:
        return f"{towards(low, digits)} to {towards(high, digits)}"
    near, far = sorted((abs(low), abs(high)))
    return f"{number(near, digits)} to {towards(far if high > 0 else -far, digits)}"


def percent(value: float | None, digits: int = 1) -> str:
    """A signed share in per cent; a dash for null."""
    return "–" if value is None else signed(value * 100, digits) + "%"


def interval_text(ends: Sequence[float] | None, digits: int = 2) -> str:
    """An interval in words; a dash for null."""
    return "–" if ends is None else f"{number(ends[0], digits)} to {number(ends[1], digits)}"


def percent_interval(ends: Sequence[float] | None) -> str:
    """An interval of shares, in whole per cent."""
    return "–" if ends is None else f"{number(ends[0] * 100, 0)} to {number(ends[1] * 100, 0)}%"


def probability(value: float | None) -> str:
    """A probability in per cent, never quite none or all; a dash for null."""
    if value is None:
        return "–"
    return "< 1%" if value < 0.005 else "> 99%" if value > 0.995 else f"{value:.0%}"


def listed(names: Sequence[str]) -> str:
    """Names in quotation marks: “a”, “b” and “c”."""
    quoted = [f"“{name}”" for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"


def columns(text: str) -> int:
    """Width on a terminal: East Asian wide characters take two columns, combining ones none."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def clip(text: str, width: int) -> str:
    """Text cut to a width in columns, with an ellipsis."""
    if columns(text) <= width:
        return text
    cut = text[:width]
    while columns(cut) >= width:
        cut = cut[:-1]
    return cut + "…"


def shorten(text: str, width: int) -> str:
    """A name cut in the middle to a width in columns: its beginning and its end tell it from others."""
    if columns(text) <= width:
        return text
    head, tail = text[: width // 2], text[-(width - 1 - width // 2) :] if width > 2 else ""
    while columns(head) > width // 2:
        head = head[:-1]
    while columns(tail) > width - 1 - width // 2 or (tail and unicodedata.combining(tail[0])):
        tail = tail[1:]
    return f"{head}…{tail}"


def kind_words(kind: str) -> str:
    """A kind of component as a reader knows it: LoRA, VAE, model patch."""
    return KINDS.get(kind, kind.replace("_", " "))


def printable(text: str) -> str:
    """Text without control characters, which could drive a terminal, and without line breaks."""
    return "".join("�" if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") else char for char in text)


def coalition_title(coalition: CoalitionResult, names: Sequence[str]) -> str:
    """What a coalition is called where there is little room; ``names``: all players."""
    present, absent = coalition.members, [name for name in names if name not in coalition.members]
    if not present:
        return "None of the components"
    if not absent:
        return "All components" if len(names) > 1 else shorten(names[0], TITLE_COLUMNS)
    if len(absent) == 1 and len(names) > 2:
        return f"All but {shorten(absent[0], TITLE_COLUMNS)}"
    return " + ".join(shorten(name, TITLE_COLUMNS) for name in present)


def image_title(coalition: CoalitionResult, place: int) -> str:
    """What one of a coalition's images is called; frames are counted from 1."""
    image = coalition.image_files[place] if place < len(coalition.image_files) else None
    if image is None or image.frame is None:
        return f"image {place + 1}"
    return f"seed +{image.seed}, frame {image.frame + 1}"


def clips_of(coalition: CoalitionResult) -> int:
    """How many clips a coalition's frames are of."""
    return len({image.seed for image in coalition.image_files})


def amount(report: ReportData, coalition: CoalitionResult) -> str:
    """How many images a coalition has, in words."""
    images = coalition.images
    if report.clips is None:
        return f"{images} image{'' if images == 1 else 's'}"
    clips, frames, of = clips_of(coalition), report.clips.frames, report.clips.length
    some = f"{frames} frames" if of is None else f"{frames} of {of} frames" if frames < of else f"all {of} frames"
    return f"{clips} clip{'' if clips == 1 else 's'}, {some} each"


def distance_of(report: ReportData, coalition: CoalitionResult) -> float | None:
    """A coalition's distance in use; None where a kernel distance is not defined."""
    return coalition.fid if report.distance == "fid" else coalition.distance


def whole(report: ReportData) -> str:
    """What all players do together, as a sentence."""
    info, last = DISTANCES[report.distance], report.coalitions[-1]
    ends = [distance_of(report, coalition) for coalition in (report.coalitions[0], last)]
    before, after = (number(value, info.digits) for value in ends)
    gain = towards(last.value, info.digits)
    if None in ends:
        return f"All components together change the {info.label}: {gain} to the reference."
    if len(report.players) == 1:
        return f"The {info.label} is {before} without it and {after} with it ({gain})."
    return f"All components together take the {info.label} from {before} to {after} ({gain})."


def not_told_apart(report: ReportData) -> list[tuple[str, str]]:
    """Pairs of players that cannot be told apart, the larger φ first; those without any effect left out."""
    ranked = [player for player in report.ranked() if not player.no_effect]
    return [
        (one.name, other.name)
        for place, one in enumerate(ranked)
        for other in ranked[place + 1 :]
        if other.name in (one.indistinguishable_from or ())
    ]


def mention_lines(report: ReportData) -> list[str]:
    """Where model files name whom the user looks for, a line a file; where none does, that."""
    found = [item for item in report.metadata if item.mentions]
    lines = []
    for item in found:
        told = [printable(mention.sentence) for mention in item.mentions[:MENTIONS_NAMED]]
        more = item.mentions_in_all - len(told)
        who = listed(item.components) if item.components else "Not a component"
        lines.append(
            f"{printable(who)} ({_name(item.file)}): {'; '.join(told)}{f'; and {more:,} more' if more else ''}."
        )
    if found:
        return [*lines, f"{NO_NUMBER}."]
    if report.metadata and (artists := report.settings.get("artists")):
        return [f"No model file's own metadata names {printable(listed(artists))} (it may be left out by its maker)."]
    return []


def summary_text(report: ReportData) -> str:
    """The report as plain text, for a terminal or a node's body."""
    info = DISTANCES[report.distance]
    digits = max(2, info.digits)
    certain = report.uncertainty is not None
    ranked = certain and len(report.players) > 1
    compared = report.verdict.basis == "contrast"
    interval = report.verdict.interval_name
    rows = [
        (
            "component",
            "kind",
            *((f"contrast ({info.label})", interval, "contrast (style)") if compared else ()),
            f"φ ({info.label})",
            *((interval,) if certain else ()),
            "share",
            *(("first",) if ranked else ()),
            "leave-one-out",
            *(() if compared else ("mean part", "spread part")),
        )
    ]
    rows += [_summary_row(player, digits, certain, ranked, compared) for player in report.ranked()]
    widths = [max(map(columns, column)) for column in zip(*rows, strict=True)]
    table = [
        "  ".join(_pad(text, width, left=k < 2) for k, (text, width) in enumerate(zip(row, widths, strict=True)))
        for row in rows
    ]
    counted = [f"Measured on {amount(report, report.coalitions[-1])}."] if report.clips is not None else []
    lines = [printable(report.headline), *(printable(item.sentence) for item in report.verdict.reading), whole(report)]
    lines += [*counted, "", *(line.rstrip() for line in table)]
    lines += ["+ nearer to the reference, − farther from it", ""]
    lines += [f"Cannot be told apart: {_name(one)} and {_name(other)}" for one, other in not_told_apart(report)]
    if report.no_interval and "one_seed" not in [item.code for item in report.warnings]:
        lines.append(report.no_interval)
    lines += [f"Locked, not measured: {_name(item.name)} ({_name(item.kind)})" for item in report.locked]
    lines += mention_lines(report)
    lines += [f"Warning: {printable(item.message)}" for item in report.warnings]
    lines.append(f"{report.statement[0].upper()}{report.statement[1:]}.")
    return "\n".join(lines)


def manifest_text(sha256: str) -> str:
    """The line that ends every audit and scoring."""
    return f"SHA-256 of the manifest: {sha256}"


def _summary_row(player: PlayerResult, digits: int, certain: bool, ranked: bool, compared: bool) -> tuple[str, ...]:
    contrasts = (
        signed(player.contrast, digits),
        interval_text(player.contrast_interval, digits),
        signed(player.style_contrast, STYLE_INFO.digits),
    )
    return (
        _name(player.name),
        _name(player.kind),
        *(contrasts if compared else ()),
        "no effect" if player.no_effect else signed(player.shapley, digits),
        *((interval_text(player.shapley_interval, digits),) if certain else ()),
        percent(player.share),
        *((probability(player.probability_largest),) if ranked else ()),
        signed(player.leave_one_out, digits),
        *(() if compared else (signed(player.shapley_mean, digits), signed(player.shapley_covariance, digits))),
    )


def _name(text: str) -> str:
    return shorten(printable(text), NAME_COLUMNS)


def _pad(text: str, width: int, *, left: bool) -> str:
    space = " " * (width - columns(text))
    return text + space if left else space + text
