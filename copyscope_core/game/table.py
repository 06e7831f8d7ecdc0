"""A cooperative game: players and a value for every coalition.

A coalition is an ``int`` bitmask over the players in their fixed order: bit *i* set means that player *i* is present.
"""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import GameError, describe
from .coalitions import how_many, members

MAX_PLAYERS = 24
"""An exact game of 24 players holds 2²⁴ values (128 MiB); above that, exact computation is not offered."""

LISTED = 12
"""At most so many coalitions are spelled out in an error message; the rest are counted."""


def mask_of(names: Iterable[str], players: Sequence[str]) -> int:
    """Bitmask of a coalition that a user's table gives by its members' names, in any order.

    Raises:
        GameError: a name is no player, or is given twice.
    """
    index = {name: bit for bit, name in enumerate(players)}
    mask = 0
    for name in names:
        if name not in index:
            raise GameError(f"“{name}” is not a player; the players are {', '.join(players)}.")
        if mask >> index[name] & 1:
            raise GameError(f"“{name}” is named twice in one coalition; name each member once.")
        mask |= 1 << index[name]
    return mask


def coalition_label(mask: int, players: Sequence[str]) -> str:
    """A coalition as a reader sees it: ``{A, B}``, or ``∅`` for the empty one."""
    names = members(mask, players)
    return "{" + ", ".join(names) + "}" if names else "∅"


def list_coalitions(masks: Iterable[int], count: int, players: Sequence[str]) -> str:
    """The first coalitions of a long list by name, and how many more there are."""
    shown = ", ".join(coalition_label(mask, players) for mask in itertools.islice(masks, LISTED))
    return f"{shown} and {count - LISTED} more" if count > LISTED else shown


def check_players(players: Sequence[str], most: int = MAX_PLAYERS) -> tuple[str, ...]:
    """The players' names as a tuple.

    Raises:
        GameError: there are none, more than ``most``, an empty name, or two of the same name.
    """
    names = tuple(players)
    if not names:
        raise GameError("The game has no players; name at least one.")
    if len(names) > most:
        raise GameError(
            f"The game has {len(names)} players, which makes {how_many(1 << len(names))} coalitions; "
            f"at most {most} players can be computed, so lock some or group them."
        )
    counts = Counter(names)
    for name in names:
        if not name.strip():
            raise GameError("A player has an empty name; give every player a name.")
        if counts[name] > 1:
            raise GameError(f"The player “{name}” is listed twice; every player needs a name of its own.")
    return names


@dataclass(frozen=True, eq=False)
class Game:
    """Players and v(S) of every coalition.

    Attributes:
        players: n names; bit *i* of a mask is ``players[i]``.
        values: (2**n,) float64, indexed by bitmask; read-only.
    """

    players: tuple[str, ...]
    values: NDArray[np.float64]

    def __post_init__(self) -> None:
        players = check_players(self.players)
        values = np.array(self.values, dtype=np.float64)
        if values.shape != (2 ** len(players),):
            raise GameError(
                f"A game of {len(players)} players needs {2 ** len(players)} values, one for each coalition; "
                f"it has an array of shape {values.shape}."
            )
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            raise GameError(
                f"The value of {list_coalitions(map(int, bad[:LISTED]), bad.size, players)} is not a finite number; "
                "measure it again."
            )
        values.flags.writeable = False
        object.__setattr__(self, "players", players)
        object.__setattr__(self, "values", values)

    @property
    def n(self) -> int:
        """Number of players."""
        return len(self.players)

    def __call__(self, coalitions: ArrayLike) -> NDArray[np.float64]:
        """Values of coalitions given as rows of a boolean matrix: (m, n) → (m,).

        Exact, sampled and grouped computations share this contract.
        """
        matrix = np.asarray(coalitions, dtype=bool)
        if matrix.ndim != 2 or matrix.shape[1] != self.n:
            raise GameError(f"Coalitions must be a matrix of {self.n} columns, one a player; got shape {matrix.shape}.")
        return np.asarray(self.values[matrix @ (1 << np.arange(self.n, dtype=np.int64))])


class _Row(BaseModel):
    model_config = ConfigDict(extra="ignore")

    members: list[str]
    value: float = Field(strict=True)


class _Table(BaseModel):
    model_config = ConfigDict(extra="ignore")

    players: list[str]
    coalitions: list[_Row]


def parse_game(data: str | bytes | Mapping[str, Any]) -> Game:
    """Read ``{"players": […], "coalitions": [{"members": […], "value": x}, …]}``.

    Args:
        data: JSON text, or what ``json.loads`` made of it. Members may be in any order; other keys are ignored.

    Raises:
        GameError: the text is no such table; a member is unknown; a player or coalition is listed twice; a value is
            not finite; or coalitions are missing (they are named: a missing value is never taken as 0).
    """
    if isinstance(data, str | bytes):
        try:
            data = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise GameError(f"The game is not JSON ({error}); see docs/report.md for the format.") from error
    try:
        table = _Table.model_validate(data)
    except ValidationError as error:
        raise GameError(f"The game does not fit the format: {describe(error)}.") from error

    players = check_players(table.players)
    values: dict[int, float] = {}
    for number, row in enumerate(table.coalitions, start=1):
        try:
            mask = mask_of(row.members, players)
        except GameError as error:
            raise GameError(f"Coalition {number} of the table: {error}") from error
        label = coalition_label(mask, players)
        if mask in values:
            raise GameError(f"The coalition {label} is listed twice; keep one value for it.")
        if not math.isfinite(row.value):
            raise GameError(f"The value of {label} is not a finite number ({row.value}); measure it again.")
        values[mask] = row.value
    require_complete(values, players)
    return Game(players, np.array([values[mask] for mask in range(2 ** len(players))]))


def require_complete(known: Mapping[int, Any], players: Sequence[str]) -> None:
    """Refuse a table that lacks coalitions, naming them.

    Raises:
        GameError: with the missing coalitions (the first ``LISTED`` by name) and how many there are.
    """
    total = 2 ** len(players)
    require_measured(known, range(total if len(known) < total else 0), players)


def require_measured(known: Mapping[int, Any], masks: Sequence[int], players: Sequence[str]) -> None:
    """Refuse a table that lacks some of the coalitions that are asked for, naming them.

    Raises:
        GameError: with the missing coalitions (the first ``LISTED`` by name) and how many there are.
    """
    stray = [mask for mask in known if not 0 <= mask < 1 << len(players)]
    if stray:
        raise GameError(f"Coalition {stray[0]} names a player beyond the {len(players)} of this game.")
    missing = [mask for mask in masks if mask not in known]
    if missing:
        raise GameError(
            f"The table lacks {len(missing)} of {len(masks)} coalitions: "
            f"{list_coalitions(missing, len(missing), players)}; "
            "a Shapley value needs all of them, so measure these too."
        )
