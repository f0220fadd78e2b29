"""Adds to the wheel what pyproject.toml cannot: copies of the root's weights.csv and starter/."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithRootFiles(build_py):
    """Copies what the package reads, but the repository has at its root, to where it looks."""

    def run(self):
        """Build the package as usual, then add the copies."""
        super().run()
        if self.editable_mode:  # an editable install finds the root's files
            return
        package = Path(self.build_lib, "ecg")
        self.copy_file("weights.csv", package / "weights.csv")
        for file in sorted(Path("starter").glob("[!.]*")):
            (package / "starter").mkdir(exist_ok=True)
            self.copy_file(file, package / "starter" / file.name)


setup(cmdclass={"build_py": BuildWithRootFiles})
