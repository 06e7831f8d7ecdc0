"""Control images that CopyScope took from its own bank: whether it would take them again."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..controls.bank import ControlBank, load_bank
from ..controls.choose import choose_controls
from ..errors import CopyScopeError, GameError
from ..evaluation.bank_control import bank_features, control_record
from ..features.extractor import FeatureCache
from ..features.views import CONTENT, views_of
from ..report.schema import ControlRecord, Reference
from .findings import Findings
from .verify_images import matched_size

_WHERE = "report.json: choice of control images"


def check_choice(
    record: ControlRecord, reference: Reference, cache: FeatureCache, findings: Findings, recompute: bool = True
) -> bool:
    """Choose the controls again, and compare; the reference's features are those that are stored.

    Which works are the same picture as a reference is taken from the record, for the reference's pixels are not here.

    Args:
        recompute: make the choice, which takes features of the bank's works; else only their version is checked.

    Returns:
        Whether the bank is the one that the report was made with.
    """
    bank = load_bank()
    if record.bank != bank.version:
        findings.not_checked("control images", "are of another version of CopyScope's control bank")
        return False
    if not recompute:
        findings.notes.append("The choice of control images was not made again: it takes features of the bank's works.")
        return True
    places = {work.file: place for place, work in enumerate(bank.works)}
    if any(item.file not in places for item in record.left_out):
        findings.notes.append(
            "The choice of control images was not checked: which works resemble the reference is private."
        )
        return True
    try:
        again = _choose(bank, places, record, reference, cache)
    except (CopyScopeError, ValueError) as error:
        findings.add(_WHERE, f"cannot be chosen again: {error}")
        return True
    if again != record:
        findings.add(_WHERE, "is not what CopyScope chooses from its bank for this reference")
    return True


def _choose(
    bank: ControlBank, places: Mapping[str, int], record: ControlRecord, reference: Reference, cache: FeatureCache
) -> ControlRecord:
    """The record of the choice, made again.

    Raises:
        CopyScopeError: features are missing, or every work resembles the reference.
        ValueError: the report holds what is no hash.
    """
    size = matched_size(record)
    if size is None:
        raise GameError("the record does not say to which size images were brought")
    same = [places[item.file] for item in record.left_out if item.reason == "same_picture"]
    keys = [str(item.matched_sha256) for item in reference.images]
    rows = [row for row in map(cache.stored, keys) if row is not None]
    if len(rows) < len(keys):
        raise GameError(f"the features of {len(keys) - len(rows)} images are not stored")
    content = views_of(cache.extractor)[CONTENT]
    features = bank_features(bank, size, cache.extractor)
    choice = choose_controls(bank.works, features[:, content], np.stack(rows)[:, content], same)
    return ControlRecord.model_validate(control_record(bank, choice, size))
