"""The floors of the house, read from the imports: which module may import which, and how long a module may be."""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import pytest

ROOT = Path(__file__).parents[1]

# What each package may import of the others: down, never up.
PACKAGES = {
    "distill": set(),
    "privacy": set(),
    "continual": {"distill"},
    "benchmarks": {"continual", "privacy", "distill"},
}
# The floors of distill, the lowest first: a module imports from its own floor and from those before it.
DISTILL_FLOORS = (
    "errors",
    "runtime",
    "files",
    "tensor_files",
    "store",
    "data",
    "preprocess",
    "fingerprint",
    "accounting",
    "networks",
    "sets",
    "training",
    "distillers",
    "__init__",
)
LONGEST_MODULE = 400
MEDIAN_MODULE = 150
LONGEST_PROGRAM = 40

# What does not pass yet. These lists only shrink: a test fails when an entry is no exception any more.
CIRCLES: list[set[str]] = []


@dataclass(frozen=True)
class Import:
    """`importer` imports the module `imported`, or `names` from it."""

    importer: str
    imported: str
    names: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.importer} imports {', '.join(self.names) or 'all'} of {self.imported}"


def name_of(file: Path) -> str:
    """The dotted name of a module: that of the folder for its `__init__.py`."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(file): file for package in PACKAGES for file in (ROOT / package).rglob("*.py")}


def imports_of(module: str) -> Iterator[Import]:
    """Every import of one of our modules, also within functions and of types alone."""
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            yield from (Import(module, alias.name, ()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module} has a relative import; expected absolute ones"
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                if submodule in MODULES:
                    yield Import(module, submodule, ())
                else:
                    yield Import(module, str(node.module), (alias.name,))


IMPORTS = [found for module in MODULES for found in imports_of(module) if found.imported in MODULES]


def package_of(module: str) -> str:
    return module.split(".")[0]


def floor_of(module: str) -> str:
    """The floor of a module of distill: the name of its folder or file, `__init__` for the package itself."""
    return [*module.split("."), "__init__"][1]


def circles(edges: Iterable[tuple[str, str]]) -> list[set[str]]:
    """The sets of modules that import each other, directly or by way of others (Tarjan's components)."""
    following: dict[str, set[str]] = {}
    for start, end in edges:
        following.setdefault(start, set()).add(end)
    reach = {start: reachable(start, following) for start in following}
    found = {frozenset({start, *(end for end in reach[start] if start in reach.get(end, ()))}) for start in reach
             if start in reach[start]}  # fmt: skip
    return [set(circle) for circle in sorted(found, key=sorted)]


def reachable(start: str, following: dict[str, set[str]]) -> set[str]:
    """All that can be reached from `start` in one step or more."""
    found: set[str] = set()
    left = [start]
    while left:
        for end in following.get(left.pop(), set()) - found:
            found.add(end)
            left.append(end)
    return found


@pytest.mark.parametrize(
    "package",
    [
        "distill",
        "privacy",
        "continual",
        "benchmarks",
    ],
)
def test_packages_import_downwards(package):
    wrong = [
        str(found) for found in IMPORTS
        if package_of(found.importer) == package
        and package_of(found.imported) not in (package, *PACKAGES[package])
    ]  # fmt: skip
    assert not wrong


def test_every_module_of_distill_is_on_a_floor():
    assert {floor_of(name) for name in MODULES if package_of(name) == "distill"} <= set(DISTILL_FLOORS)


def test_floors_of_distill_import_downwards():
    height = {name: i for i, name in enumerate(DISTILL_FLOORS)}
    wrong = [
        str(found) for found in IMPORTS
        if package_of(found.importer) == package_of(found.imported) == "distill"
        and height[floor_of(found.imported)] > height[floor_of(found.importer)]
    ]  # fmt: skip
    assert not wrong


def test_no_circles_of_modules():
    assert circles((found.importer, found.imported) for found in IMPORTS) == sorted(CIRCLES, key=sorted)


def test_circles_are_found():
    assert circles([("a", "b"), ("b", "c"), ("c", "a"), ("c", "d"), ("e", "e")]) == [{"a", "b", "c"}, {"e"}]
    assert not circles([("a", "b"), ("b", "c"), ("a", "c")])


def test_no_private_name_crosses_packages():
    wrong = [
        str(found) for found in IMPORTS
        if package_of(found.importer) != package_of(found.imported)
        and any(part.startswith("_") for part in (*found.imported.split("."), *found.names))
    ]  # fmt: skip
    assert not wrong


def lines_of(file: Path) -> int:
    return len(file.read_text().splitlines())


@pytest.mark.parametrize("package", PACKAGES)
def test_modules_are_short(package):
    lines = {name: lines_of(file) for name, file in MODULES.items() if package_of(name) == package}
    assert {name: count for name, count in lines.items() if count > LONGEST_MODULE} == {}
    assert median(lines.values()) <= MEDIAN_MODULE


def test_programs_only_parse_and_run():
    programs = {file.name: lines_of(file) for file in (ROOT / "benchmarks").glob("*.py")}
    assert {name: count for name, count in programs.items() if count > LONGEST_PROGRAM} == {}
