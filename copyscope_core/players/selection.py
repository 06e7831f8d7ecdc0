"""Divides components into players and locked ones, and players into groups, as the settings ask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..errors import PlayerError
from ..settings import AuditSettings
from .components import Component, stem

MOST_LISTED = 50
"""Components that an error message names; of more, the first."""


def select(components: Sequence[Component], settings: AuditSettings) -> tuple[list[Component], list[Component]]:
    """Divide components into players and locked ones by the settings' ``players`` and ``lock``.

    A selector is a component's name, node id, kind or file name, whatever its case.

    Raises:
        PlayerError: a selector matches nothing, or chooses a component that has no absence rule.
    """
    selectors = _Selectors(components)
    wanted = {c.name for s in settings.players for c in selectors.matching(s)}
    locked_names = {c.name for s in settings.lock for c in selectors.matching(s)}
    for selector in settings.players:
        matching = selectors.matching(selector)
        if all(c.absence is None for c in matching):
            raise PlayerError(f"{selector!r} cannot be a player: {matching[0].reason}.")
    players, locked = [], []
    for component in components:
        if component.absence is None:
            locked.append(component)
        elif component.name in locked_names or (settings.players and component.name not in wanted):
            reason = "locked by the user" if component.name in locked_names else "not among the chosen players"
            locked.append(replace(component, absence=None, reason=reason))
        else:
            players.append(component)
    return players, locked


def grouping(
    players: Sequence[Component], groups: Mapping[str, Sequence[str]]
) -> tuple[tuple[str, ...], tuple[tuple[int, ...], ...]]:
    """The groups' names and the indices of their players. A player that is in no group is a group of its own.

    Returns:
        Two empty tuples if the settings have no groups.

    Raises:
        PlayerError: a selector matches no player, or a player is in two groups.
    """
    groups = {name: chosen for name, chosen in groups.items() if chosen}  # auto is none before copies are known
    if not groups:
        return (), ()
    owner: dict[str, str] = {}
    selectors = _Selectors(players)
    for group, chosen in groups.items():
        for name in {item.name for selector in chosen for item in selectors.matching(selector)}:
            if name in owner:
                raise PlayerError(f"The player {name!r} is in the groups {owner[name]!r} and {group!r}; keep one.")
            owner[name] = group
    members: dict[str, list[int]] = {}
    for place, player in enumerate(players):
        members.setdefault(owner.get(player.name, player.name), []).append(place)
    if len(members) != len(groups) + len(players) - len(owner):
        raise PlayerError("A group has the name of a player that is not in it; give the group another name.")
    return tuple(members), tuple(tuple(places) for places in members.values())


def plain_selectors(components: Sequence[Component]) -> list[str | None]:
    """For each component a selector that matches it alone: its name, else a node or file of its own; None without any.

    Lists of selectors are written on lines and between commas, so it holds neither.
    """
    selectors = _Selectors(components)
    result: list[str | None] = []
    for component in components:
        names = (component.name, *component.nodes, *component.files)
        fit = (name for name in names if "," not in name and name.splitlines() == [name.strip()])
        result.append(next((name for name in fit if selectors.matching(name) == [component]), None))
    return result


class _Selectors:
    """Finds components by name, kind, node id, file name or the file's stem, whatever the case."""

    def __init__(self, components: Sequence[Component]) -> None:
        self._components = components
        self._found: dict[str, list[Component]] = {}
        for component in components:
            names = {component.name.casefold(), component.kind, *(node.casefold() for node in component.nodes)}
            for file in component.files:
                names |= {file.casefold(), file.casefold().replace("\\", "/"), stem(file).casefold()}
            for name in names:
                self._found.setdefault(name, []).append(component)

    def matching(self, selector: str) -> list[Component]:
        """The components that a selector matches.

        Raises:
            PlayerError: there are none.
        """
        name = selector.strip().casefold()
        found = self._found.get(name) or self._found.get(name.replace("\\", "/"))
        if found is None:
            names = ", ".join(f"{c.name!r} ({c.kind}, node {c.node})" for c in self._components[:MOST_LISTED])
            more = f" and {len(self._components) - MOST_LISTED:,} more" * (len(self._components) > MOST_LISTED)
            raise PlayerError(f"No component is called {selector!r}; the workflow has: {names or 'none'}{more}.")
        return found
