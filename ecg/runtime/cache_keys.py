"""Keys of cached results, made of their options and of the source files that produce them.

Everything kept for another run (prepared arrays, simulated records, folds, finished models) has a
key from here. It changes with any source file that the producing module imports, directly or
through others, and with no other file: a changed filter is never missed, and a changed report does
not discard a model. Comments and docstrings do not count.
"""

import ast
import hashlib
import json
from functools import cache
from pathlib import Path

import ecg

_PACKAGE = "ecg"
_ROOT = Path(ecg.__path__[0]).parent
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def cache_key(options, *modules: str) -> str:
    """Return the SHA-256, in hexadecimal, of some options and of the source files behind some
    modules.

    options: anything that JSON can hold. modules: dotted names within the package.
    Raises ModuleNotFoundError for a module that is not in the package.
    """
    sources = [
        (path.relative_to(_ROOT).as_posix(), _statements(path)) for path in source_files(*modules)
    ]
    return hashlib.sha256(json.dumps([options, sources]).encode()).hexdigest()


@cache
def _statements(path: Path) -> str:
    """Return what a source file does, without comments, docstrings and layout: a reworded sentence
    must not discard a model."""
    tree = ast.parse(path.read_bytes())
    for node in ast.walk(tree):
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            del node.body[0]
    return ast.dump(tree)


@cache
def source_files(*modules: str, root: Path = _ROOT) -> tuple[Path, ...]:
    """Return the source files of these modules and of every module of the package they import,
    sorted.

    Imports are read from the source, including those within functions; nothing is executed.
    root: the folder that holds the package.
    """
    found: dict[str, Path] = {}
    for name in modules:
        if _source(name, root) is None:
            raise ModuleNotFoundError(f"expected a module of the package {_PACKAGE}, found {name}")
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        path = _source(name, root)
        if path is None:  # not a module but a name defined in one
            name = name.rpartition(".")[0]
            path = _source(name, root)
        if name.split(".")[0] != _PACKAGE or name in found or path is None:
            continue
        found[name] = path
        waiting += [name.rpartition(".")[0], *_imports(path)]
    return tuple(sorted(found.values()))


def _source(name: str, root: Path) -> Path | None:
    path = root.joinpath(*name.split("."))
    candidates = (path.with_suffix(".py"), path / "__init__.py")
    return next((file for file in candidates if file.is_file()), None)


def _imports(path: Path) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names
