"""The package itself."""

import subprocess
import sys


def test_importing_the_package_does_not_import_torch():
    code = "import models, sys; print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
