"""The version is said in three places, for three readers; all say the same."""

import re
import tomllib
from email.parser import HeaderParser
from pathlib import Path

from include.airflow_provider.provider_info import PACKAGE, get_provider_info
from include.ops.local.stack import PROVIDER_METADATA


def test_all_places_say_the_same_version(project_root: Path) -> None:
    project = tomllib.loads((project_root / "pyproject.toml").read_text())["project"]
    (metadata,) = PROVIDER_METADATA.glob("*.dist-info")
    headers = HeaderParser().parsestr((metadata / "METADATA").read_text())

    version = project["version"]

    assert get_provider_info()["versions"] == [version]
    assert headers["Version"] == version
    assert metadata.name == f"{PACKAGE.replace('-', '_')}-{version}.dist-info"
    assert re.fullmatch(r"\d+\.\d+\.\d+", version)
