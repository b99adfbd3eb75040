"""The lines that benchmarks yield: as one table, and as JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

HEADINGS = ("what", "measured", "target", "verdict")


@dataclass(frozen=True)
class Line:
    """One figure. ``met`` None: it has no target. ``figures``: what it was made of."""

    what: str
    measured: str
    target: str = ""
    met: bool | None = None
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        return {None: "", True: "meets", False: "MISSES"}[self.met]


def at_most(
    what: str, measured: str, value: float, limit: float, unit: str, **figures: Any
) -> Line:
    target = f"<= {limit:,g}{unit}"
    return Line(what, measured, target, value <= limit, {"value": value, **figures})


def at_least(
    what: str, measured: str, value: float, limit: float, unit: str, **figures: Any
) -> Line:
    target = f">= {limit:,g}{unit}"
    return Line(what, measured, target, value >= limit, {"value": value, **figures})


def table(lines: Sequence[Line]) -> str:
    cells = [(line.what, line.measured, line.target, line.verdict) for line in lines]
    widths = [max(map(len, column)) for column in zip(HEADINGS, *cells, strict=True)]
    rows = [HEADINGS, tuple("-" * width for width in widths), *cells]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def write_json(path: Path, lines: Sequence[Line], **about: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {**about, "lines": [{**asdict(line), "verdict": line.verdict} for line in lines]}
    path.write_text(json.dumps(document, indent=1, default=str) + "\n")
