"""CopyScope: which model in an image workflow makes its output resemble an artist's work (arXiv 2311.12847).

The public names are those of ``__all__``; docs/api.md explains them. Each is loaded when it is first used, so that
``import copyscope_core`` is quick. Everything else may change without notice.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .api.audits import audit, plan, score
    from .distances.frechet import Frechet, frechet_distance
    from .distances.kernel import kernel_distance
    from .errors import CopyScopeError
    from .evaluation.fid import FidResult, fid
    from .features.extractor import FeatureExtractor
    from .game.solution import ShapleyResult, shapley
    from .observer import Observer
    from .planning.plan import Plan
    from .report.report import Report
    from .settings import AuditSettings

__version__ = "0.1.0"

__all__ = [
    "AuditSettings",
    "CopyScopeError",
    "FeatureExtractor",
    "FidResult",
    "Frechet",
    "Observer",
    "Plan",
    "Report",
    "ShapleyResult",
    "__version__",
    "audit",
    "fid",
    "frechet_distance",
    "kernel_distance",
    "plan",
    "score",
    "shapley",
]

_MODULES = {
    "AuditSettings": ".settings",
    "CopyScopeError": ".errors",
    "FeatureExtractor": ".features.extractor",
    "FidResult": ".evaluation.fid",
    "Frechet": ".distances.frechet",
    "Observer": ".observer",
    "Plan": ".planning.plan",
    "Report": ".report.report",
    "ShapleyResult": ".game.solution",
    "audit": ".api.audits",
    "fid": ".evaluation.fid",
    "frechet_distance": ".distances.frechet",
    "kernel_distance": ".distances.kernel",
    "plan": ".api.audits",
    "score": ".api.audits",
    "shapley": ".game.solution",
}
"""Public name → the module that defines it."""


if not TYPE_CHECKING:  # hidden from type checkers, which would accept any name

    def __getattr__(name: str) -> object:
        """Load a public name when it is first used (PEP 562)."""
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(_MODULES[name], __name__), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
