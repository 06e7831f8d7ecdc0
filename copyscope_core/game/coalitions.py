"""Coalitions as bitmasks: bit *i* of a mask is set where player *i* is present."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np


def members(mask: int, names: Sequence[str]) -> tuple[str, ...]:
    """The names of the players that are present."""
    return tuple(name for index, name in enumerate(names) if mask >> index & 1)


def label(mask: int, names: Sequence[str]) -> str:
    """A coalition's name in messages: its members, or ``∅``."""
    return " + ".join(members(mask, names)) or "∅ (none of the players)"


def how_many(count: int) -> str:
    """A number of coalitions as text; a very large one as a power of two, because its digits would fill pages."""
    exponent = count.bit_length() - 1
    if exponent < 64:
        return f"{count:,}"
    return f"2^{exponent:,}" if count == 1 << exponent else f"more than 2^{exponent:,}"


def presence(n_players: int) -> np.ndarray:
    """The boolean matrix of all coalitions, (2ⁿ, n): row *m* is the coalition with bitmask *m*."""
    masks = np.arange(1 << n_players, dtype=np.uint32)
    return (masks[:, None] >> np.arange(n_players, dtype=np.uint32) & 1).astype(bool)


def execution_order(masks: Iterable[int], n_players: int, cost_order: Sequence[int] = ()) -> list[int]:
    """The masks in an order in which neighbours differ in few players, the full coalition first.

    This is the order of a reflected Gray code; if all 2ⁿ masks are given, neighbours differ in one player only. The
    first players of ``cost_order`` change least often: loading another checkpoint takes longer than encoding another
    prompt.
    """
    order = [*cost_order, *(index for index in range(n_players) if index not in cost_order)]

    def place(mask: int) -> int:
        """The rank of a mask in the Gray code, whose bits are the absent players."""
        rank, parity = 0, 0
        for player in order:
            parity ^= ~mask >> player & 1
            rank = rank << 1 | parity
        return rank

    return sorted(masks, key=place)
