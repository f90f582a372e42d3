"""What is refused before the node is asked and anything is written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_a_slow_curve_is_refused(config: Path) -> None:
    """embit's own fallback, brought about by hiding its C binding from a fresh interpreter."""
    script = (
        "import sys; sys.modules['embit.util.ctypes_secp256k1'] = None\n"
        f"import main; sys.exit(main.main(['serve', '--config', {str(config)!r}]))"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("nodetill: embit has no libsecp256k1 for this machine")
    assert list(config.parent.iterdir()) == [config]
