"""ddtrace in an environment of its own, which sees the project's packages as well.

The project's environment stays without it, and everything that isn't under test unprofiled.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Final

from tests.lift import find_uv

VERSION: Final = "4.16.0"
_NEEDS: Final = ("bytecode==0.19.1", "envier==0.6.1", "wrapt==2.5.2")
"""Those of its requirements that profiling imports and the project hasn't got."""
_ROOT: Final = Path(__file__).parents[2]
CACHE: Final = _ROOT / ".cache" / "ddtrace" / VERSION

PROFILING: Final = {
    "DD_PROFILING_ENABLED": "true",
    "DD_PROFILING_LOCK_ENABLED": "true",
    "DD_PROFILING_CAPTURE_PCT": "100",
    "DD_TRACE_ENABLED": "false",
    "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false",
    "DD_REMOTE_CONFIGURATION_ENABLED": "false",
    "DD_TRACE_AGENT_URL": "http://127.0.0.1:9",  # nobody is there: profiles go nowhere
}
"""Settings of the profiler: each lock, every time."""


def command() -> list[str]:
    """Python under ``ddtrace-run``; it is installed first where it must be."""
    python = CACHE / "bin" / "python"
    profiled = CACHE / "bin" / "ddtrace-run"
    if not profiled.exists():
        uv = find_uv()
        _run(uv, "venv", "--quiet", "--python", sys.executable, "--allow-existing", str(CACHE))
        [packages] = CACHE.glob("lib/python*/site-packages")
        (packages / "project.pth").write_text(sysconfig.get_path("purelib") + "\n")
        _run(
            *(uv, "pip", "install", "--quiet", "--python", str(python), "--no-deps"),
            *(f"ddtrace=={VERSION}", *_NEEDS),
        )
    return [str(profiled), str(python)]


def _run(*command: str) -> None:
    subprocess.run(command, check=True)
