"""Where in a load a worker is: in its working directory, dlt moves files from step to step."""

import os
from dataclasses import dataclass
from pathlib import Path, PurePath

#: In their order. What is in none of them is loaded.
EXTRACT, NORMALIZE, COPY, MERGE = "extract", "normalize", "copy", "merge"
STEPS = (EXTRACT, NORMALIZE, COPY, MERGE)
#: Not one of dlt's: the rows are there, and what was received is not written down yet.
MERGED = "merged"


@dataclass(frozen=True)
class Progress:
    """``step``: of the load that is under way, if there is one; ``loaded``: loads that are over."""

    step: str | None
    loaded: int


def progress_of(working_directory: Path) -> Progress:
    steps: set[str] = set()
    loaded = 0
    # os.walk tolerates files that are moved meanwhile.
    for parent, folders, names in os.walk(working_directory):
        if parent.endswith("load/loaded"):
            loaded += len(folders)
            folders.clear()
            continue
        for name in names:
            if step := _step(PurePath(parent, name).relative_to(working_directory)):
                steps.add(step)
    return Progress(max(steps, key=STEPS.index) if steps else None, loaded)


def _step(path: PurePath) -> str | None:
    """Return the step that a file of a load belongs to; files of the pipeline belong to none."""
    begin = next((n for n, part in enumerate(path.parts) if part in ("normalize", "load")), None)
    place = path.parts[begin:] if begin is not None else ()
    if len(place) < 3:
        return None
    if place[0] == "normalize":
        return EXTRACT
    if place[1] != "normalized":
        return NORMALIZE
    begun = place[3:4] in (("started_jobs",), ("completed_jobs",))
    return MERGE if begun and path.suffix == ".sql" else COPY
