"""Coalitions as bitmasks: bit *i* of a mask is set where player *i* is present."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def members(mask: int, names: Sequence[str]) -> tuple[str, ...]:
    """The names of the players that are present."""
    return tuple(name for index, name in enumerate(names) if mask >> index & 1)


def label(mask: int, names: Sequence[str]) -> str:
    """How a coalition is called in messages: its members, or ``∅``."""
    return " + ".join(members(mask, names)) or "∅ (none of the players)"


def presence(n_players: int) -> np.ndarray:
    """The boolean matrix of all coalitions, (2ⁿ, n): row *m* is the coalition with bitmask *m*."""
    masks = np.arange(1 << n_players, dtype=np.uint32)
    return (masks[:, None] >> np.arange(n_players, dtype=np.uint32) & 1).astype(bool)


def execution_order(n_players: int, cost_order: Sequence[int] = ()) -> list[int]:
    """Every mask once, the full coalition first, neighbours differing in one player.

    A reflected Gray code over the players; the players in ``cost_order`` come first as the ones that change least
    often (a checkpoint swap costs more than a changed prompt).
    """
    order = [*cost_order, *(index for index in range(n_players) if index not in cost_order)]
    full = (1 << n_players) - 1
    result = []
    for step in range(1 << n_players):
        gray = step ^ (step >> 1)
        absent = 0
        for position, player in enumerate(reversed(order)):
            absent |= (gray >> position & 1) << player
        result.append(full & ~absent)
    return result
