"""The table of all benchmarks."""

import json
from pathlib import Path

from tests.bench.report import Line, at_least, at_most, table, write_json

LINES = [
    at_most("memory", "410 MB", 410, 400, " MB"),
    at_least("share", "96 %", 96, 95, " %", requests=500),
    Line("by the way", "7 s"),
]


def test_a_line_says_whether_its_target_is_met() -> None:
    assert table(LINES).splitlines() == [
        "what        measured  target     verdict",
        "----------  --------  ---------  -------",
        "memory      410 MB    <= 400 MB  MISSES",
        "share       96 %      >= 95 %    meets",
        "by the way  7 s",
    ]


def test_the_figures_are_kept(tmp_path: Path) -> None:
    write_json(tmp_path / "new" / "bench.json", LINES, quick=True)

    document = json.loads((tmp_path / "new" / "bench.json").read_text())
    assert document["quick"]
    assert [line["verdict"] for line in document["lines"]] == ["MISSES", "meets", ""]
    assert document["lines"][1]["figures"] == {"value": 96, "requests": 500}
