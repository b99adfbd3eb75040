"""The Dockerfile as the tests need it: its instructions, and what a stage copies and sets."""

import re
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.ops.compose.compose import ROOT

FILE = ROOT / "Dockerfile"


@dataclass(frozen=True)
class Instruction:
    """One instruction, its lines joined. ``stage``: the last FROM's name, empty before it."""

    stage: str
    name: str
    argument: str


def instructions(path: Path = FILE) -> list[Instruction]:
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    found: list[Instruction] = []
    stage = ""
    for line in filter(None, map(str.strip, joined.splitlines())):
        name, _, argument = line.partition(" ")
        if name == "FROM":
            stage = argument.split(" AS ")[1]
        found.append(Instruction(stage, name, argument))
    return found


def instructions_of(stage: str) -> list[Instruction]:
    """Return the instructions that make a stage: those of the stages it is built on first."""
    of_stage = [instruction for instruction in instructions() if instruction.stage == stage]
    parent = of_stage[0].argument.split(" AS ")[0]
    stages = {instruction.stage for instruction in instructions()}
    return [*(instructions_of(parent) if parent in stages else []), *of_stage]


def copy_image(stage: str, root: Path) -> None:
    """Put below *root* what the stage's COPY instructions put below `/`."""
    for instruction in instructions_of(stage):
        if instruction.name == "COPY":
            source, target = instruction.argument.split()
            destination = root / target.lstrip("/")
            destination.parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / source).is_dir():
                shutil.copytree(
                    ROOT / source, destination, ignore=shutil.ignore_patterns("__pycache__")
                )
            else:
                shutil.copyfile(ROOT / source, destination)


def environment_of(stage: str) -> dict[str, str]:
    return {
        name: value
        for instruction in instructions_of(stage)
        if instruction.name == "ENV"
        for name, value in (part.split("=", 1) for part in shlex.split(instruction.argument))
    }
