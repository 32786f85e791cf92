"""What pyproject.toml says of the package is so."""

import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]


def versions(lines, operator):
    """Names and versions of requirements, each of which gives one."""
    found = {}
    for requirement in map(Requirement, lines):
        (specifier,) = requirement.specifier
        assert specifier.operator == operator
        found[requirement.name] = Version(specifier.version)
    return found


def test_the_oldest_versions_that_are_tested_are_those_that_are_promised():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    tested = (ROOT / ".ci" / "oldest.txt").read_text(encoding="utf-8").splitlines()
    assert versions(tested, "==") == versions([*project["dependencies"], *project["optional-dependencies"]["html"]], ">=")
