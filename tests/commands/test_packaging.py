"""The wheel is complete, and the installed package works outside the repository."""

import importlib.metadata
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile

import pytest

from tests.conftest import ROOT
from tests.synthetic import beats, write_record

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
BACKEND = "setuptools"
BUILT_FROM = (
    "ecg",
    "pyproject.toml",
    "setup.py",
    "MANIFEST.in",
    "README.md",
    "LICENSE",
    "weights.csv",
)


def run(*command, **options) -> str:
    """Run a command, which must succeed; return its stdout."""
    process = subprocess.run(
        [*map(str, command)], capture_output=True, text=True, check=False, **options
    )
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


def pip(*arguments) -> None:
    run(sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments)


def requirements(name) -> list[str]:
    lines = (ROOT / name).read_text().splitlines()
    return sorted(line for line in lines if line and not line.startswith(("#", "-r")))


@pytest.fixture(scope="module")
def source(tmp_path_factory, untrained):
    """A copy of what the package is built from, with models that were never trained: setuptools
    writes into the folder, and the shipped models take long to load."""
    if importlib.util.find_spec("pip") is None:
        pytest.skip("pip is not installed")
    try:
        found = importlib.metadata.version(BACKEND)
    except importlib.metadata.PackageNotFoundError:
        found = "none"
    if f"{BACKEND}=={found}" not in PROJECT["build-system"]["requires"]:
        pytest.skip(f"expected {PROJECT['build-system']['requires']}, found {BACKEND} {found}")
    source = tmp_path_factory.mktemp("source")
    for name in BUILT_FROM:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, source / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, source)
    shutil.copytree(untrained, source / "starter")
    return source


@pytest.fixture(scope="module")
def wheel(source, tmp_path_factory):
    out = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", out, source)
    (built,) = out.iterdir()
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    target = tmp_path_factory.mktemp("installed")
    pip("install", "--no-deps", "--no-index", "--no-compile", "--target", target, wheel)
    return target


@pytest.fixture
def elsewhere(installed, tmp_path):
    """Options for a process that finds the installed package but not the repository."""
    clean = {name: text for name, text in os.environ.items() if not name.startswith("ECG_")}
    return {"cwd": tmp_path, "env": clean | {"PYTHONPATH": str(installed)}}


@pytest.mark.contract
def test_the_wheel_contains_exactly_the_package_the_weights_and_the_models(wheel, untrained):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    files = (path for path in (ROOT / "ecg").rglob("*") if path.is_file())
    expected = {
        path.relative_to(ROOT).as_posix() for path in files if "__pycache__" not in path.parts
    }
    models = {f"ecg/starter/{path.name}" for path in untrained.iterdir()}
    assert len(models) == 10
    assert names == expected | {"ecg/weights.csv"} | models
    assert "ecg/pages/templates/report.html" in names


@pytest.mark.contract
def test_the_source_distribution_contains_what_the_wheel_is_built_from(source, tmp_path):
    code = f"from setuptools.build_meta import build_sdist; build_sdist({str(tmp_path)!r})"
    run(sys.executable, "-c", code, cwd=source)
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    assert {"weights.csv", "setup.py", "ecg/predict.py"} <= names
    assert {f"starter/{path.name}" for path in (source / "starter").iterdir()} <= names


@pytest.mark.contract
def test_the_installed_package_answers_with_its_own_models(installed, elsewhere, tmp_path):
    record = write_record(tmp_path, "A1", beats(5000, 500), 500)
    printed = run(installed / "bin" / "ecg", "predict", "starter", record, "--json", **elsewhere)
    (answer,) = json.loads(printed)
    assert answer["usable"]
    assert answer["lead_set"] == 12


@pytest.mark.contract
def test_an_installed_package_without_models_says_so(installed, elsewhere, tmp_path):
    (installed / "ecg" / "starter").rename(installed / "ecg" / "moved")
    process = subprocess.run(
        [installed / "bin" / "ecg", "predict", "starter", "A1.hea"],
        capture_output=True,
        text=True,
        check=False,
        **elsewhere,
    )
    (installed / "ecg" / "moved").rename(installed / "ecg" / "starter")
    assert process.returncode == 1
    assert "no starter models are installed" in process.stderr
    assert str(installed / "ecg" / "starter") in process.stderr


@pytest.mark.contract
def test_the_installed_package_reads_its_own_weights(installed, elsewhere):
    code = "from ecg.records import diagnoses as d; print(d.WEIGHTS_FILE); d.read_weights()"
    assert run(sys.executable, "-c", code, **elsewhere).strip() == str(
        installed / "ecg" / "weights.csv"
    )


@pytest.mark.contract
def test_the_installed_commands_run_from_another_folder(installed, elsewhere, tmp_path):
    assert "cross-validate" in run(sys.executable, "-m", "ecg", "--help", **elsewhere)
    run(installed / "bin" / "ecg", "simulate", "out", "--records", "2", **elsewhere)
    assert len(list((tmp_path / "out").glob("*.mat"))) == 2


def test_the_packages_dependencies_are_the_pinned_requirements():
    project = PROJECT["project"]
    (with_cuda,) = project["optional-dependencies"]["gpu"]
    without_cuda = with_cuda.replace("[and-cuda]", "")
    expected = [
        without_cuda if line == with_cuda else line for line in requirements("requirements.txt")
    ]
    assert sorted(project["dependencies"]) == sorted(expected)
    for extra in ("dask", "formats", "onnx"):
        assert sorted(project["optional-dependencies"][extra]) == requirements(
            f"requirements-{extra}.txt"
        )
    assert set(PROJECT["build-system"]["requires"]) <= set(requirements("requirements-dev.txt"))


def test_the_image_has_the_readers_of_all_formats():
    dockerfile = (ROOT / "Dockerfile").read_text()
    copied = (ROOT / ".dockerignore").read_text().splitlines()
    for name in ("requirements.txt", "requirements-formats.txt"):
        assert f"--requirement {name}" in dockerfile
        assert f"!{name}" in copied
