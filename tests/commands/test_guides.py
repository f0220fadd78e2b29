"""The guides are followed to the letter, in a copy of what a clone has."""

import os
import re
import shutil
import subprocess

import pytest

from tests.conftest import ROOT

GUIDES = sorted((ROOT / "docs").glob("guide_*.md"))
_BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)
# The environment is there already, with all that the guides install.
_MADE = re.compile(r"> (\S+\.(?:json|csv))|--explain (\S+)| (\S+\.onnx)")
_INSTALLS = re.compile(r"^(bash scripts/venv\.sh|pip install).*$", re.MULTILINE)


@pytest.fixture
def clone(tmp_path):
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for name in filter(None, tracked.split("\0")):
        target = tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target)
    return tmp_path


@pytest.mark.nightly
@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.stem)
def test_a_guide_leads_where_it_says(guide, clone):
    blocks = _BLOCK.findall(guide.read_text())
    assert blocks
    script = ["set -eu"]
    for number, (language, text) in enumerate(blocks):
        if language == "python":
            (clone / f"block_{number}.py").write_text(text)
            script.append(f"PYTHONPATH=. python block_{number}.py")
        else:
            script.append(_INSTALLS.sub("", text))
    path = f"{ROOT / '.venv/bin'}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        cwd=clone,
        env={name: value for name, value in os.environ.items() if not name.startswith("ECG_")}
        | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    for made in _MADE.findall("\n".join(script)):
        assert (clone / next(filter(None, made))).stat().st_size > 0
