"""Players that are copies of one model: what the plan says of them, and the groups that ``auto`` makes of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from ..settings import AUTO, AuditSettings
from ..twins.twins import Fingerprint, Twins, find_twins
from .plan import Plan

LORA = "lora"
_UNKNOWN = "Copies of LoRAs are told only where the files are: give a server with CopyScope's pack, or --comfyui."


def lora_files(plan: Plan) -> dict[str, str]:
    """Player → model file, of the players that are LoRAs; empty where there are not two."""
    files = {player.name: player.files[0] for player in plan.players if player.kind == LORA and player.files}
    return files if len(files) > 1 else {}


def with_twins(plan: Plan, known: Mapping[str, Fingerprint], again: Callable[[AuditSettings], Plan]) -> Plan:
    """The plan with what is known of copies, grouped where the settings say ``auto``.

    Args:
        known: model file → its fingerprint; files that are missing are alike only by their name.
        again: makes the plan anew with other settings.

    Raises:
        PlayerError: a copy is in a group of the settings already.
    """
    marks = {player: known.get(file, Fingerprint(f"named {file}")) for player, file in lora_files(plan).items()}
    twins = find_twins(marks)
    groups = {name: members for name, members in plan.settings.groups.items() if members}
    if AUTO in plan.settings.groups and AUTO not in groups:
        groups |= {f"copies of {found.names[0]}": found.names for found in twins}
        plan = again(plan.settings.model_copy(update={"groups": groups}))
        if marks and not known:
            plan = replace(plan, warnings=(*plan.warnings, _UNKNOWN))
    return replace(plan, twins=twins)


def twin_cautions(plan: Plan) -> list[dict[str, str]]:
    """A record with ``code`` and ``message`` for each set of copies that do not join as one group."""
    return [
        {"code": "same_model", "message": twin_sentence(twins)}
        for twins in plan.twins
        if not any(set(twins.names) <= {plan.names[place] for place in group} for group in plan.design.groups)
    ]


def twin_sentence(twins: Twins) -> str:
    """What copies mean for the result, and what to do."""
    names = ", ".join(f"“{name}”" for name in twins.names)
    return (
        f"{names} are copies of one model (cosine of their changes {twins.cosine:.3f}), so each has about its part of "
        "what the model contributes; read their sum, or let them join as one group (--group auto, or the line auto in "
        "groups)."
    )
