"""Builds the wheel by pip (PEP 517), from the source tree or from an sdist: the command and libbusy by cargo, the rest
by maturin. Only `pip install .` and the like come here; the Makefile calls the same three programs itself.
"""

import os
import subprocess
import sys
from pathlib import Path

import maturin

ROOT = Path(__file__).parent.parent
# maturin requires the folder, whatever it does (`data` in pyproject.toml).
(ROOT / "pyext" / "wheel-data").mkdir(exist_ok=True)

build_sdist = maturin.build_sdist
get_requires_for_build_sdist = maturin.get_requires_for_build_sdist
get_requires_for_build_wheel = maturin.get_requires_for_build_wheel
prepare_metadata_for_build_wheel = maturin.prepare_metadata_for_build_wheel


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    target = ROOT / "target"
    subprocess.run(["cargo", "build", "--release", "--target-dir", target], cwd=ROOT, check=True)
    # By sh, since an sdist does not keep that the script is executable.
    environment = {**os.environ, "PYTHON": sys.executable}
    subprocess.run(["sh", "packaging/stage.sh", target / "release"], cwd=ROOT, env=environment, check=True)
    return maturin.build_wheel(wheel_directory, config_settings, metadata_directory)
