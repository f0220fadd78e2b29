import subprocess
import sys
from types import SimpleNamespace

import pytest

from ecg.__main__ import COMMANDS, main
from tests.conftest import ROOT


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_gets_the_arguments_after_its_name(name, monkeypatch):
    called = []
    command = SimpleNamespace(main=lambda arguments, prog: called.append((arguments, prog)))
    monkeypatch.setitem(sys.modules, COMMANDS[name][0], command)
    main([name, "model", "--help", "--", "-odd"])
    assert called == [(["model", "--help", "--", "-odd"], f"ecg {name}")]


@pytest.mark.parametrize("name", COMMANDS)
def test_usage_names_the_command_as_it_was_called(name, capsys):
    with pytest.raises(SystemExit) as end:
        main([name, "--help"])
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: ecg {name} [-h]")


@pytest.mark.parametrize(("arguments", "found"), [(["predikt"], "'predikt'"), ([""], "''")])
def test_the_error_for_an_unknown_command_lists_the_known_ones(arguments, found, capsys):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    assert f"expected one of {', '.join(COMMANDS)}; found {found}" in capsys.readouterr().err


HELP = """
import sys
from ecg.__main__ import main
try:
    main(["--help"])
finally:
    assert {name for name in sys.modules if name.startswith("ecg.")} == {"ecg.__main__"}
    assert "numpy" not in sys.modules
"""


@pytest.mark.contract
def test_help_lists_the_commands_without_importing_them():
    process = subprocess.run(
        [sys.executable, "-c", HELP], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    for name in COMMANDS:
        assert f"  {name} " in process.stdout
