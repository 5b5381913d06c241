"""A Compose file as ``docker compose config`` understands it: by Docker, where it is, else by the
library that Docker has it from, built with Go."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

VERSION: Final = "v2.16.2"
MODULE: Final = f"github.com/compose-spec/compose-go/v2/cmd@{VERSION}"
CACHE: Final = Path(__file__).parents[2] / ".cache" / "compose" / VERSION
_BUILD_TIMEOUT: Final = 300.0


class ComposeError(Exception):
    """The file isn't valid, or nothing here can tell: one of both, in words."""


def config(file: Path) -> dict[str, Any]:
    """What is in a file, where no variable is set; raises :class:`ComposeError`."""
    clean = {name: os.environ[name] for name in ("HOME", "PATH") if name in os.environ}
    done = subprocess.run(_command(file), env=clean, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ComposeError(done.stderr.strip())
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _command(file: Path) -> list[str]:
    docker = shutil.which("docker")
    if (
        docker
        and not subprocess.run([docker, "compose", "version"], capture_output=True).returncode
    ):
        return [docker, "compose", "-f", str(file), "config", "--format", "json"]
    built = CACHE / "cmd"
    if not built.exists():
        go = shutil.which("go")
        if go is None:
            raise ComposeError("neither Docker Compose nor Go is on PATH")
        CACHE.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            [go, "install", MODULE],
            env={**os.environ, "GOBIN": str(CACHE)},
            capture_output=True,
            text=True,
            timeout=_BUILD_TIMEOUT,
            check=False,
        )
        if done.returncode:
            raise ComposeError(f"go install {MODULE}: {done.stderr.strip()[-500:]}")
    return [str(built), "-format", "json", str(file)]
