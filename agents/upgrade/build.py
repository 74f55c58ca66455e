"""Builds the archive of kapok-agent for one architecture: `python -m agents.upgrade.build`.

It holds the wheels of `requirements-agent.lock` for every Python that they exist for, a wheel of
this checkout, pip, and `install.sh`. Wheels are only downloaded by their locked hashes. Equal
inputs give an equal archive.
"""

import argparse
import gzip
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Final
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from agents import __version__

ARCHITECTURES: Final = ("x86_64", "aarch64")
PYTHONS: Final = ("3.11", "3.12", "3.13")
_PLATFORMS: Final = ("manylinux2014", "manylinux_2_17", "manylinux_2_28")
"""The first that a wheel exists for: of glibc 2.17 rather than 2.28, for older systems."""
_LOCK: Final = "requirements-agent.lock"
_COMMAND: Final = "kapok-agent = kapok_entry:kapok_agent"
_INSTALLER: Final = Path(__file__).with_name("install.sh")

_EPILOG: Final = """examples:
  python -m agents.upgrade.build                           for the architecture of this machine
  python -m agents.upgrade.build --architecture aarch64 --out dist
  python -m agents.upgrade.build --python 3.11             smaller: for Python 3.11 only

At the machine: tar xf kapok-agent-VERSION-ARCHITECTURE.tar.gz, then sudo sh install.sh in it.
exit codes: 0 built, 1 not (the message says why), 2 wrong arguments"""


class BuildError(Exception):
    """The archive cannot be built; the message says why."""


def build_archive(
    root: Path, out: Path, *, architecture: str, pythons: Sequence[str], version: str = __version__
) -> Path:
    """Builds an archive; returns its path. Its SHA-256 is in a file beside it.

    Args:
        root: the checkout.
        out: the folder to write into.
        architecture: as `uname -m` says.
        pythons: versions of Python, such as "3.11".
        version: name of the version.

    Raises:
        BuildError: a wheel is missing, or pip or hatchling fails.
        OSError: a file cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix="kapok-archive-") as name:
        folder = Path(name)
        wheels = folder / "wheels"
        wheels.mkdir()
        for python in pythons:
            _download(root / _LOCK, wheels, architecture, python)
        own = _build_own_wheel(root, wheels)
        _download_pip(folder / "pip")
        requirement = f"kapok-scheduler=={own.name.split('-')[1]} --hash=sha256:{_digest(own)}\n"
        (folder / "requirements.txt").write_text((root / _LOCK).read_text() + requirement)
        (folder / "architecture").write_text(f"{architecture}\n")
        (folder / "version").write_text(f"{version}\n")
        (folder / "pythons").write_text(f"{' '.join(pythons)}\n")
        shutil.copyfile(_INSTALLER, folder / "install.sh")
        names = sorted(str(one.relative_to(folder)) for one in folder.rglob("*") if one.is_file())
        sums = "".join(f"{_digest(folder / one)}  {one}\n" for one in names)
        (folder / "SHA256SUMS").write_text(sums)
        out.mkdir(parents=True, exist_ok=True)
        path = out / f"kapok-agent-{version}-{architecture}.tar.gz"
        path.write_bytes(_pack(folder, [*names, "SHA256SUMS"], path.name.removesuffix(".tar.gz")))
    path.with_name(f"{path.name}.sha256").write_text(f"{_digest(path)}  {path.name}\n")
    return path


def _pack(folder: Path, names: Sequence[str], top: str) -> bytes:
    """A tar.gz without times and owners."""
    packed = BytesIO()
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", mtime=0, filename="") as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name in names:
            data = (folder / name).read_bytes()
            entry = tarfile.TarInfo(f"{top}/{name}")
            entry.size, entry.mode = len(data), 0o755 if name == "install.sh" else 0o644
            archive.addfile(entry, BytesIO(data))
    return packed.getvalue()


def _digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def _download(lock: Path, folder: Path, architecture: str, python: str) -> None:
    platforms = [f"--platform={platform}_{architecture}" for platform in _PLATFORMS]
    chosen = [f"--python-version={python}", "--implementation=cp", "--only-binary=:all:"]
    words = ["--no-deps", "--require-hashes", "-r", str(lock), "-d", str(folder)]
    _run("pip", "download", "--quiet", *platforms, *chosen, *words)


def _download_pip(folder: Path) -> None:
    """Pip as a wheel: machines have a Python without it, and an own one fits what we test."""
    words = ["--no-deps", "--only-binary=:all:", "-d", str(folder), "pip"]
    _run("pip", "download", "--quiet", *words)


def _build_own_wheel(root: Path, wheels: Path) -> Path:
    with tempfile.TemporaryDirectory(prefix="kapok-wheel-") as name:
        _run("hatchling", "build", "-t", "wheel", "-d", name, cwd=root, KAPOK_PURE_WHEEL="1")
        [built] = Path(name).glob("*.whl")
        return _without_scheduler(built, wheels / built.name)


def _without_scheduler(wheel: Path, target: Path) -> Path:
    """Copies our wheel without what only the scheduler needs: 17 MB once installed."""
    with ZipFile(wheel) as full, ZipFile(target, "w", ZIP_DEFLATED) as slim:
        kept = {
            one.filename: full.read(one)
            for one in full.infolist()
            if not one.filename.startswith("scheduler/")
        }
        [record] = [name for name in kept if name.endswith(".dist-info/RECORD")]
        [commands] = [name for name in kept if name.endswith(".dist-info/entry_points.txt")]
        kept[commands] = f"[console_scripts]\n{_COMMAND}\n".encode()
        del kept[record]
        lines = [
            f"{name},sha256={_record_digest(data)},{len(data)}\n" for name, data in kept.items()
        ]
        kept[record] = "".join([*lines, f"{record},,\n"]).encode()
        for name, data in kept.items():
            slim.writestr(ZipInfo(name), data, ZIP_DEFLATED)
    return target


def _record_digest(data: bytes) -> str:
    """As RECORD has it: base64 for URLs, without padding (PEP 376, PEP 427)."""
    return urlsafe_b64encode(sha256(data).digest()).decode().rstrip("=")


def _run(*words: str, cwd: Path | None = None, **environment: str) -> None:
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-m", *words],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        raise BuildError(f"{' '.join(words[:2])}: {done.stderr.strip()[-1000:]}")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command."""
    parser = argparse.ArgumentParser(
        prog="python -m agents.upgrade.build",
        description="Builds the archive of kapok-agent for machines without network.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    own = os.uname().machine
    parser.add_argument(
        "--architecture",
        choices=ARCHITECTURES,
        default=own if own in ARCHITECTURES else ARCHITECTURES[0],
        help="of the machines (default: %(default)s)",
    )
    parser.add_argument(
        "--python",
        action="append",
        choices=PYTHONS,
        metavar="VERSION",
        help=f"a Python to hold wheels for; again for more (default: {', '.join(PYTHONS)})",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("dist"), metavar="DIR", help="default: dist"
    )
    arguments = parser.parse_args(argv)
    root = Path(__file__).resolve().parents[2]
    try:
        path = build_archive(
            root,
            arguments.out,
            architecture=arguments.architecture,
            pythons=tuple(arguments.python or PYTHONS),
        )
    except (BuildError, OSError) as error:
        sys.stderr.write(f"build: {error}\n")
        return 1
    sys.stdout.write(f"{path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
