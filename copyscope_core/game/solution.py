"""A game from a table of values, and everything that follows from it for its players."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..errors import GameError
from .interactions import MOST_PLAYERS, pair_interactions
from .shapley import check_efficiency, leave_one_out, shapley_values, shares
from .table import Game, check_players, coalition_label, mask_of, require_complete


@dataclass(frozen=True, eq=False)
class ShapleyResult:
    """What each player of a game contributes, in units of its values.

    Attributes:
        game: the players and v(S) of every coalition.
        values: player → Shapley value φ; they sum to v(N) − v(∅).
        shares: player → φ/Σ|φ|, signed, the paper's normalisation; None where every φ is 0.
        leave_one_out: player → v(N) − v(N∖i).
        efficiency_gap: Σφ − (v(N) − v(∅)); rounding only, which is checked.
    """

    game: Game
    values: dict[str, float]
    shares: dict[str, float] | None
    leave_one_out: dict[str, float]
    efficiency_gap: float

    @property
    def players(self) -> tuple[str, ...]:
        """The players' names in their order."""
        return self.game.players

    @cached_property
    def interactions(self) -> dict[tuple[str, str], float]:
        """Two players → their Shapley interaction index (Grabisch and Roubens 1999), in the players' order.

        Positive: the two do more together than apart. Negative: they stand in for each other.

        Raises:
            GameError: there are more than 12 players.
        """
        if self.game.n > MOST_PLAYERS:
            raise GameError(
                f"Interactions are computed for at most {MOST_PLAYERS} players, and this game has {self.game.n}."
            )
        table = pair_interactions(self.game.values)
        pairs = itertools.combinations(range(self.game.n), 2)
        return {(self.players[i], self.players[j]): float(table[i, j]) for i, j in pairs}

    def as_json(self) -> dict[str, Any]:
        """What ``copyscope shapley --json`` prints."""
        return {
            "shapley": self.values,
            "leave_one_out": self.leave_one_out,
            "share": dict.fromkeys(self.players) if self.shares is None else self.shares,
            "efficiency_gap": self.efficiency_gap,
        }


def shapley(players: Iterable[str], values: Mapping[Any, float] | ArrayLike) -> ShapleyResult:
    """Exact Shapley values φᵢ = Σ_S |S|!(n−1−|S|)!/n! · (v(S∪i) − v(S)) of a game of n ≤ 24 players (Shapley 1953).

    Args:
        players: the players' names.
        values: coalition → v(S), where a coalition is a tuple or frozenset of names in any order, ``()`` the empty one
            (a single name may stand for itself); or 2ⁿ numbers by bitmask, bit *i* for the *i*-th player.

    Raises:
        GameError: a coalition is missing (named; it is never taken as 0), is listed twice or has an unknown member, a
            value is no finite number, or there are too many players.
    """
    return solve(game_of(players, values))


def solve(game: Game) -> ShapleyResult:
    """The Shapley values of a game and what goes with them.

    Raises:
        GameError: the values are so large that the Shapley values do not add up.
    """
    phi = shapley_values(game.values)
    gap = check_efficiency(game.values, phi)
    share = shares(phi)

    def named(numbers: np.ndarray[Any, Any]) -> dict[str, float]:
        return dict(zip(game.players, numbers.tolist(), strict=True))

    return ShapleyResult(
        game, named(phi), None if share is None else named(share), named(leave_one_out(game.values)), float(gap)
    )


def game_of(players: Iterable[str], values: Mapping[Any, float] | ArrayLike) -> Game:
    """A game from a mapping of coalitions to values, or from 2ⁿ values by bitmask, as :func:`shapley` takes them.

    Raises:
        GameError: see :func:`shapley`.
    """
    if isinstance(players, str) or not isinstance(players, Iterable):
        raise GameError("The players of a game are a list of names.")
    names: list[Any] = list(players)
    for name in names:
        if not isinstance(name, str):
            raise GameError(f"A player is a name, not {name!r}.")
    checked = check_players(names)
    if not isinstance(values, Mapping):
        try:
            return Game(checked, np.asarray(values, dtype=np.float64))
        except (TypeError, ValueError) as error:
            if isinstance(error, GameError):
                raise
            raise GameError("The values of a game are numbers, one for each coalition.") from error
    known: dict[int, float] = {}
    for coalition, value in values.items():
        mask = _mask(coalition, checked)
        label = coalition_label(mask, checked)
        if mask in known:
            raise GameError(f"The coalition {label} is listed twice; keep one value for it.")
        try:
            if isinstance(value, str | bytes):
                raise TypeError
            known[mask] = float(value)
        except (TypeError, ValueError, OverflowError) as error:
            raise GameError(f"The value of {label} is no number, but a {type(value).__name__}.") from error
    require_complete(known, checked)
    return Game(checked, np.array([known[mask] for mask in range(2 ** len(checked))]))


def _mask(coalition: Any, players: tuple[str, ...]) -> int:
    if isinstance(coalition, str):
        return mask_of([coalition], players)
    if not isinstance(coalition, Iterable):
        raise GameError(f"A coalition is a tuple or frozenset of players' names, not {coalition!r}.")
    names = list(coalition)
    for name in names:
        if not isinstance(name, str):
            raise GameError(f"A coalition holds players' names, not {name!r}.")
    return mask_of(names, players)
