"""How helps look: usage with what must be given, options in short groups, one style of names for values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperCommand

GROUPS = {
    "Images": ("--reference", "--index", "--control", "--images", "--out", "--storage"),
    "What is measured": (
        "--models", "--one", "--slot", "--audit-top", "--players", "--lock", "--baseline-checkpoint", "--baseline-vae",
        "--baseline-model", "--key-prompt", "--neutral-prompt", "--image-player", "--output", "--artist",
    ),
    "How it is measured": (
        "--seeds", "--frames", "--distance", "--features", "--style-checkpoint", "--share-reference", "--device",
    ),
    "Many components": ("--max-coalitions", "--budget", "--target-width", "--estimator", "--group"),
    "ComfyUI": (
        "--server", "--comfyui", "--base-directory", "--comfyui-arg", "--timeout", "--ray", "--allow-paid-nodes",
        "--probe",
    ),
    "Report": ("--hide-reference", "--private", "--examiner", "--case"),
}  # fmt: skip
"""Title → options, in their order; others come last."""

REST = "Other options"
FEW = 10
"""So many options need no groups."""


class Command(TyperCommand):
    """A command with such a help."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Arguments and required options as they are to be written."""
        pieces = [self.options_metavar or ""]
        for param in self.get_params(ctx):
            if _is_argument(param):
                name = _value(param)
                pieces.append(name if param.required else f"[{name}]")
            elif param.required:
                pieces.append(_name(param))
        return [*pieces[1:], pieces[0]]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """A table of the arguments, and one of each group of options."""
        params = [param for param in self.get_params(ctx) if not getattr(param, "hidden", False)]
        groups: dict[str, list[tuple[str, str]]] = {title: [] for title in ("Arguments", *GROUPS, REST)}
        options = [param for param in params if not _is_argument(param)]
        titles = {option: title for title, names in GROUPS.items() for option in names} if len(options) > FEW else {}
        for param in params:
            title = "Arguments" if _is_argument(param) else titles.get(param.opts[0], REST)
            groups[title].append((_name(param), _help(param)))
        for title, rows in groups.items():
            if rows:
                order = GROUPS.get(title, ())
                rows.sort(key=lambda row: order.index(row[0].split()[0]) if order else 0)
                with formatter.section("Options" if title == REST and not titles else title):
                    formatter.write_dl(rows)


class App(typer.Typer):
    """An application whose commands have such helps."""

    def command(self, name: str | None = None, **options: Any) -> Callable[[Any], Any]:  # type: ignore[override]
        return super().command(name, **{"cls": Command, **options})


def _is_argument(param: Any) -> bool:
    return bool(param.param_type_name == "argument")


def _value(param: Any) -> str:
    """What stands for the value."""
    return str(param.metavar or param.name.upper().replace("_", "-"))


def _name(param: Any) -> str:
    if _is_argument(param):
        return _value(param)
    flags = ", ".join(param.opts)
    return flags if getattr(param, "is_flag", False) else f"{flags} {_value(param)}"


def _help(param: Any) -> str:
    default = param.default
    if param.required:
        note = " [required]" if not _is_argument(param) else ""
    elif not param.show_default or default is None or default is False or default == () or callable(default):
        note = ""
    else:
        note = f" [default: {f'{default:g}' if isinstance(default, float) else default}]"
    return f"{param.help or ''}{note}"
