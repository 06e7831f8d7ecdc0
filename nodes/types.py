"""CopyScope's own link types."""

from __future__ import annotations

from comfy_api.latest import io

Coalitions = io.Custom("COPYSCOPE_COALITIONS")
"""A ``GraphRun`` whose coalitions are stored."""

Reference = io.Custom("COPYSCOPE_REFERENCE")
"""A list of ``ImageFile``, most of which are decoded when they are measured."""

PlayerChoice = io.Custom("COPYSCOPE_PLAYERS")
"""A mapping of ``AuditSettings`` fields."""

SettingsChoice = io.Custom("COPYSCOPE_SETTINGS")
"""A mapping of ``AuditSettings`` fields."""

Game = io.Custom("COPYSCOPE_GAME")
"""A ``MeasuredRun``: distances of every coalition to the reference."""
