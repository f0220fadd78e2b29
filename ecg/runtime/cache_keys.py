"""Keys of what is cached: by the options, and by the source files that make it.

Everything that is kept for another run (prepared arrays, simulated records, folds, finished models)
has a key from here. It changes with any source file that the making module imports, directly or
through others, and with no other file, so that neither a changed filter goes unnoticed nor a
changed report throws a model away.
"""

import ast
import hashlib
import json
from functools import cache
from pathlib import Path

import ecg

_PACKAGE = "ecg"
_ROOT = Path(ecg.__path__[0]).parent


def cache_key(facts, *modules: str) -> str:
    """A key, 64 hexadecimal digits, of facts that JSON can hold and of what the modules import.

    modules: dotted names within the package. Raises ModuleNotFoundError for another.
    """
    sources = [
        (path.relative_to(_ROOT).as_posix(), path.read_text("utf-8"))
        for path in source_files(*modules)
    ]
    return hashlib.sha256(json.dumps([facts, sources]).encode()).hexdigest()


@cache
def source_files(*modules: str, root: Path = _ROOT) -> tuple[Path, ...]:
    """The source files of these modules and of all modules of the package that they import, sorted.

    Imports are found in the source, those within functions too; nothing is run. root: the folder
    that holds the package.
    """
    found: dict[str, Path] = {}
    for name in modules:
        if _source(name, root) is None:
            raise ModuleNotFoundError(f"expected a module of the package {_PACKAGE}, found {name}")
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        path = _source(name, root)
        if path is None:  # a name within the module before it
            name = name.rpartition(".")[0]
            path = _source(name, root)
        if name.split(".")[0] != _PACKAGE or name in found or path is None:
            continue
        found[name] = path
        waiting += [name.rpartition(".")[0], *_imports(path)]
    return tuple(sorted(found.values()))


def _source(name: str, root: Path) -> Path | None:
    place = root.joinpath(*name.split("."))
    candidates = (place.with_suffix(".py"), place / "__init__.py")
    return next((path for path in candidates if path.is_file()), None)


def _imports(path: Path) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names
