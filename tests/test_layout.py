"""The library is one street: a room imports only from rooms above it, and no files form a circle."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import gtzan_keras

PACKAGE = Path(gtzan_keras.__file__).parent
STREET = (
    "errors", "parallel", "audio", "tracks", "store", "datasets", "metrics", "models", "training",
    "inference", "experiments", "report", "serve", "cli",
)  # fmt: skip


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in PACKAGE.rglob("*.py")}
# What each public name of the package stands for: `gtzan_keras.splits` is `gtzan_keras.tracks.splits`.
PUBLIC = {
    alias.asname or alias.name: f"{node.module or ''}.{alias.name}".lstrip(".")
    for node in ast.walk(ast.parse((PACKAGE / "__init__.pyi").read_text("utf-8")))
    if isinstance(node, ast.ImportFrom)
    for alias in node.names
}


def nearest_module(name: str) -> str:
    """The module that holds `name`, a module or something in one."""
    while name and name not in MODULES:
        name = name.rpartition(".")[0]
    return name


def imports(path: Path) -> set[str]:
    """Modules of this package that a file imports, at any depth, as names within the package."""
    nodes, found = set(ast.walk(ast.parse(path.read_text("utf-8")))), set()
    for block in [node for node in nodes if isinstance(node, ast.If)]:
        if ast.unparse(block.test).endswith("TYPE_CHECKING"):
            nodes -= set(ast.walk(block))
    for node in nodes:
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import; the package uses absolute ones"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("gk", "gtzan_keras"):
            names = [f"gtzan_keras.{node.attr}"]
        else:
            continue
        for name in names:
            if name.startswith("gtzan_keras."):
                inner = name.removeprefix("gtzan_keras.")
                first = inner.split(".")[0]
                found.add(nearest_module(PUBLIC.get(first, inner) if first not in MODULES else inner))
    return found - {"", module_name(path)}


GRAPH = {name: imports(path) for name, path in MODULES.items() if name}


def test_a_room_imports_only_from_rooms_above_it():
    assert {"tracks.near_duplicates", "tracks.splits"} <= GRAPH["cli"]  # inside functions, and as gk.splits
    place = {room: number for number, room in enumerate(STREET)}
    wrong = [
        f"{name} imports {other}"
        for name, others in GRAPH.items()
        for other in others
        if place[other.split(".")[0]] > place[name.split(".")[0]]
    ]
    assert not wrong, wrong


def test_no_files_import_each_other_in_a_circle():
    try:
        TopologicalSorter(GRAPH).prepare()
    except CycleError as error:
        raise AssertionError(" -> ".join(error.args[1])) from None


def test_no_public_name_shadows_a_module():
    shadowed = []
    for room in ("models", "experiments"):
        package = __import__(f"gtzan_keras.{room}", fromlist=["__all__"])
        shadowed += [f"{room}.{name}" for name in package.__all__ if f"{room}.{name}" in MODULES]
    assert not shadowed, shadowed
