"""The image that the Dockerfile is built on, for machines that have no Docker to fetch it.

Docker's images of Python are made from Debian, and so is this one, by debootstrap: the Python that
the Dockerfile names, and this machine's way to its package registries.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .debian import program

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SUITE: Final = "trixie"
"""The release of Debian that has the Python of the Dockerfile."""
PACKAGES: Final = ("ca-certificates", "python-is-python3", "python3", "python3-pip")
_FROM: Final = re.compile(r"^FROM (python:(\d+\.\d+)-slim)\b", re.MULTILINE)
_CERTIFICATES: Final = Path("/etc/ssl/certs/ca-certificates.crt")
_CONFIGURATIONS: Final = (
    *("/etc/pip.conf", "~/.pip/pip.conf", "~/.config/pip/pip.conf"),
    *("/etc/uv/uv.toml", "~/.config/uv/uv.toml"),
)
_REACHES_REGISTRIES: Final = re.compile(r"(PIP|UV)_\w*(INDEX|HOST|TIMEOUT)\w*")


class BaseError(Exception):
    """The Dockerfile is built on something that can't be made here."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Files and settings that let a container reach package registries as this machine does."""

    files: dict[str, bytes]
    """By their path in the container, without the slash before it."""
    environ: dict[str, str]

    @classmethod
    def here(cls) -> Surroundings:
        """Those of this machine: certificates, and the configuration of pip and uv."""
        named = (os.environ.get(each) for each in ("SSL_CERT_FILE", "PIP_CERT"))
        certificates = [Path(each) for each in (*named, _CERTIFICATES) if each]
        found = {str(_CERTIFICATES)[1:]: each for each in reversed(certificates) if each.is_file()}
        for name in _CONFIGURATIONS:
            if (path := Path(name).expanduser()).is_file():
                found[name.replace("~", "/root")[1:]] = path
        told = {k: v for k, v in os.environ.items() if _REACHES_REGISTRIES.fullmatch(k)}
        trusted = dict.fromkeys(("SSL_CERT_FILE", "PIP_CERT"), str(_CERTIFICATES))
        return cls({name: path.read_bytes() for name, path in found.items()}, told | trusted)


@dataclass(frozen=True, slots=True)
class Base:
    """The image that a Dockerfile is built on, as it is made here."""

    name: str
    python: str
    """The version of Python, as in 3.13."""
    surroundings: Surroundings

    @classmethod
    def of(cls, dockerfile: Path) -> Base:
        """The base of this Dockerfile; raises :class:`BaseError`."""
        found = set(_FROM.findall(dockerfile.read_text()))
        if len(found) != 1:
            raise BaseError(f"{dockerfile} isn't built on one of Docker's python:*-slim: {found}")
        ((name, python),) = found
        return cls(f"docker.io/library/{name}", python, Surroundings.here())

    @property
    def made_from(self) -> str:
        """A digest of all that it is made from, the month too: no base gets old."""
        recipe = Path(__file__).read_text()
        return hashlib.sha256(repr((self, recipe, time.strftime("%Y-%m"))).encode()).hexdigest()

    def lay(self, folder: Path, run: Callable[[Sequence[str]], object]) -> None:
        """Lay its files down in a folder; ``run`` runs a command where it may mount."""
        shutil.rmtree(folder, ignore_errors=True)
        include = f"--include={','.join(PACKAGES)}"
        run([program("debootstrap"), "--variant=minbase", include, SUITE, str(folder)])
        if not (folder / "usr" / "bin" / f"python{self.python}").exists():
            raise BaseError(f"Debian's {SUITE} has no Python {self.python}")
        for guard in folder.glob("usr/lib/python3*/EXTERNALLY-MANAGED"):
            guard.unlink()  # Docker's has none: its Python is nobody else's
        for spent in ("var/cache/apt", "var/lib/apt/lists"):
            shutil.rmtree(folder / spent)
        for name, content in self.surroundings.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
