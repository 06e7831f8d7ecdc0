"""The values of a node's widgets in a UI-format workflow.

The UI format saves widget values as a list without names, in the order in which the front end makes the widgets from
``/object_info``. This module repeats that order.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..lora_tags import tags
from ..node_info import is_model_file, mapping, type_name
from .scopes import UiInput, UiNode

Schema = Mapping[str, Any]

NUMBER_TYPES = ("INT", "FLOAT")
DYNAMIC_COMBO, MATCH_TYPE, AUTOGROW = "COMFY_DYNAMICCOMBO_V3", "COMFY_MATCHTYPE_V3", "COMFY_AUTOGROW"
PLAIN_WIDGETS = frozenset({"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO", "MARKDOWN", "TEXTAREA", "COLOR"})
DISPLAY_WIDGETS = frozenset({"IMAGECOMPARE", "CHART", "GALLERIA", "LOAD_3D", "LOAD_3D_ANIMATION", "WEBCAM"})
WIDGET_TYPES = PLAIN_WIDGETS | DISPLAY_WIDGETS | {"AUDIO_RECORD", DYNAMIC_COMBO}
"""Input types for which the front end itself makes a widget with a saved value. Packs make widgets for others."""
SEED_NAMES = ("seed", "noise_seed")
CONTROL_VALUES = (None, "fixed", "increment", "increment-wrap", "decrement", "randomize")
UPLOAD_FLAGS = ("image_upload", "video_upload", "audio_upload", "animated_image_upload")
POWER_LOADER = "Power Lora Loader (rgthree)"
"""The class whose rows the server takes without declaring them."""
PREVIEW_KEYS = ("videopreview", "preview")
MISSING: Any = object()
"""The default of an input that has none."""

_COMMENT = re.compile(r"/\*|//")
_ESCAPED = re.compile(r"\\([{}|])")


@dataclass(frozen=True)
class Input:
    """An input that a node class declares: its name, type (``COMBO`` for a list of choices) and options."""

    name: str
    type: str
    options: Mapping[str, Any]
    optional: bool

    @property
    def forced(self) -> bool:
        """True if the input is a socket although its type could be a widget."""
        return bool(self.options.get("forceInput") or (self.optional and self.options.get("defaultInput")))

    def is_widget(self, saved: Mapping[Any, UiInput], link_types: Container[str]) -> bool:
        """Whether the front end makes a widget for the input.

        For a type that it does not know itself the file tells: it holds every socket, and says of each whether it
        belongs to a widget. Where it tells nothing, a type that no node gives is no socket.

        Args:
            saved: the node's inputs in the file, by name.
            link_types: the types that nodes give.
        """
        if self.forced:
            return False
        if self.type in WIDGET_TYPES or self.options.get("widgetType") or self.options.get("socketless"):
            return True
        if self.name in saved:
            return bool(saved[self.name].get("widget"))
        return not self.type.startswith("COMFY_") and all(part not in link_types for part in self.type.split(","))

    @property
    def is_autogrow(self) -> bool:
        """True if the input stands for a row of sockets that grows as they are linked."""
        return self.type.startswith(AUTOGROW)

    @property
    def link_type(self) -> str:
        """The type that a link to the input must have."""
        if self.type == MATCH_TYPE:
            return str((self.options.get("template") or {}).get("allowed_types", "*"))
        return self.type

    @property
    def has_control(self) -> bool:
        """True if the front end puts a "control after generate" widget behind this one."""
        flag = self.options.get("control_after_generate")
        if flag is not None:
            return bool(flag)
        return self.type == "INT" and self.name in SEED_NAMES

    @property
    def default(self) -> Any:
        """The value of the widget if the file has none."""
        if self.options.get("default") is not None:
            return self.options["default"]
        if self.type == "COMBO":
            return next(iter(self.options.get("options") or ()), MISSING)
        if self.type == DYNAMIC_COMBO:
            return next((option.get("key") for option in self.options.get("options") or ()), MISSING)
        return {"INT": 0, "FLOAT": 0, "STRING": "", "BOOLEAN": False}.get(self.type, MISSING)


def _inputs_of(block: Mapping[str, Any], order: Mapping[str, Any] | None, prefix: str = "") -> list[Input]:
    found: list[Input] = []
    for section in ("required", "optional"):
        specs = block.get(section) or {}
        names = [name for name in (order or {}).get(section) or () if name in specs]
        listed = set(names)
        for name in (*names, *(name for name in specs if name not in listed)):
            spec = specs[name]
            if not isinstance(spec, Sequence) or isinstance(spec, str) or not spec:
                continue
            options = spec[1] if len(spec) > 1 and isinstance(spec[1], Mapping) else {}
            kind = spec[0]
            if isinstance(kind, (list, tuple)):
                kind, options = "COMBO", {"options": list(kind), **options}
            found.append(Input(prefix + name, type_name(kind), options, section == "optional"))
    return found


def declared_inputs(schema: Schema) -> list[Input]:
    """A node class's inputs in the order of its definition, required ones first."""
    return _inputs_of(schema.get("input") or {}, schema.get("input_order"))


def selected_inputs(combo: Input, key: Any) -> list[Input]:
    """The inputs that a dynamic combo adds when ``key`` is selected, named ``combo.input``."""
    for option in combo.options.get("options") or ():
        if isinstance(option, Mapping) and option.get("key") == key:
            return _inputs_of(option.get("inputs") or {}, None, f"{combo.name}.")
    return []


def resolve_dynamic_prompt(text: str) -> str:
    """``{a|b}`` and comments in a prompt, as the front end resolves them, but always with the first alternative.

    The front end draws an alternative at random for every run. A measurement must be repeatable, so it takes the first.
    """
    return _ESCAPED.sub(r"\1", _first_alternatives(_without_comments(text)))


def _without_comments(text: str) -> str:
    """The text without ``// …`` and ``/* … */``. An unclosed ``/*`` stays in the text."""
    kept: list[str] = []
    done = position = 0
    last_close = text.rfind("*/")
    while opening := _COMMENT.search(text, position):
        if opening.group() == "/*" and last_close < opening.end():
            position = opening.start() + 1
            continue
        closing = "*/" if opening.group() == "/*" else "\n"
        end = text.find(closing, opening.end())
        kept.append(text[done : opening.start()])
        done = position = len(text) if end < 0 else end + len(closing.strip())
    return "".join([*kept, text[done:]])


def _first_alternatives(text: str) -> str:
    """The text with the first alternative of every ``{a|b}`` in its place; an unclosed brace is closed at the end."""
    out: list[str] = []
    chosen: list[bool] = []  # for each open brace, whether this is its first alternative
    others = 0  # how many open braces are past their first alternative
    letters = iter(text)
    for letter in letters:
        if letter == "{":
            chosen.append(True)
        elif letter == "}" and chosen:
            others -= not chosen.pop()
        elif letter == "|" and chosen:
            others += chosen[-1]
            chosen[-1] = False
        else:
            whole = letter + next(letters, "") if letter == "\\" else letter
            if not others:
                out.append(whole)
    return "".join(out)


@dataclass(frozen=True)
class Widgets:
    """A node's widget values.

    Attributes:
        values: by the names of the inputs; also values of inputs that the server does not declare.
        names: the declared inputs that are widgets.
        notes: a sentence for each thing that was left out or chosen.
        misfits: ``name = value`` for each value of a wrong type.
        lost: model files and LoRAs in values whose inputs the server does not declare.
    """

    values: dict[str, Any]
    names: frozenset[str]
    notes: tuple[str, ...] = ()
    misfits: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()


def _migrate(inputs: Sequence[Input], widgets: Container[str], saved: Sequence[Any]) -> Sequence[Any]:
    """The saved values without those of inputs that were widgets when the file was saved and are sockets now."""
    made = [one for one in inputs if one.forced or one.name in widgets]
    slots = [one.forced for one in made for _ in range(2 if one.has_control else 1)]
    if not any(slots) or len(slots) != len(saved):
        return saved
    return [value for value, forced in zip(saved, slots, strict=True) if not forced]


def _lora_rows(saved: Iterable[Any]) -> dict[str, Any]:
    """The rows of rgthree's Power Lora Loader by input: ``lora_1``, ``lora_2`` …"""
    rows = [dict(value) for value in saved if isinstance(value, Mapping) and "lora" in value]
    for row in rows:
        if row.get("strengthTwo") is None:
            row.pop("strengthTwo", None)
    return {f"lora_{number}": row for number, row in enumerate(rows, 1)}


def link_types(object_info: Mapping[str, Any]) -> frozenset[str]:
    """The types of links: those that some node class gives, and the one that takes any."""
    outputs = [mapping(schema).get("output") for schema in object_info.values()]
    given = [type_name(kind) for kinds in outputs if isinstance(kinds, (list, tuple)) for kind in kinds]
    return frozenset({"*", *(part for kind in given for part in kind.split(","))})


def read_widgets(node: UiNode, schema: Schema, types: Container[str] = ()) -> Widgets:
    """A node's widget values.

    Args:
        schema: its class in ``/object_info``.
        types: ``link_types``.
    """
    inputs = declared_inputs(schema)
    entries = {one.get("name"): one for one in node.get("inputs") or ()}
    widgets = [one for one in inputs if one.is_widget(entries, types)]
    saved = node.get("widgets_values")
    values: dict[str, Any] = {}
    names: set[str] = set()
    notes: list[str] = []
    misfits: list[str] = []
    by_name = saved if isinstance(saved, Mapping) else None
    rest = deque(_migrate(inputs, {one.name for one in widgets}, saved) if isinstance(saved, (list, tuple)) else ())
    waiting = deque(widgets)
    while waiting:
        one = waiting.popleft()
        names.add(one.name)
        value = one.default
        if by_name is not None:
            value = by_name.get(one.name, value)
        elif rest:
            value = rest.popleft()
        if one.type in NUMBER_TYPES and isinstance(value, (str, Mapping, list)) and not _is_number(value):
            misfits.append(f"{one.name} = {value!r}")
        if isinstance(value, str) and one.options.get("dynamicPrompts"):
            chosen = resolve_dynamic_prompt(value)
            if "{" in value and chosen != value:
                notes.append(f"input {one.name} has alternatives in braces; the first of each is used")
            value = chosen
        if value is not MISSING:
            values[one.name] = value
        if one.type == DYNAMIC_COMBO:
            added = selected_inputs(one, value)
            waiting.extendleft(sub for sub in reversed(added) if sub.is_widget(entries, types))
        elif one.has_control and rest and rest[0] in CONTROL_VALUES:
            rest.popleft()
    if by_name is not None:
        values.update((key, value) for key, value in by_name.items() if key not in names and key not in PREVIEW_KEYS)
        return Widgets(values, frozenset(names), tuple(notes), tuple(misfits))
    rows = _lora_rows(rest) if node.get("type") == POWER_LOADER else {}
    values.update(rows)
    lost = () if rows else tuple(dict.fromkeys(name for value in rest for name in _models_in(value)))
    uploads = any(one.options.get(flag) for one in inputs for flag in UPLOAD_FLAGS)
    left = [value for value in rest if value not in (None, "") and not isinstance(value, Mapping)]
    if left and not uploads and not rows:
        plural = "s" if len(left) > 1 else ""
        notes.append(f"{len(left)} saved widget value{plural} unknown to the server's /object_info left out")
    return Widgets(values, frozenset(names), tuple(notes), tuple(misfits), lost)


def _models_in(value: Any) -> Iterator[str]:
    """The model files and LoRAs that a saved value names. The file's depth is limited (``convert``)."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            yield from [item] if is_model_file(item) else tags(item)
        elif isinstance(item, Mapping):
            name = item.get("name")
            if isinstance(name, str) and "strength" in item and not is_model_file(name):  # a row without extension
                yield name
            waiting.extend(item.values())
        elif isinstance(item, (list, tuple)):
            waiting.extend(item)


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True
