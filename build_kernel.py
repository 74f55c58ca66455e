"""Builds the compiled kernel: into the source tree (`make`), or into a wheel (hatchling's hook).

    python build_kernel.py         # into the source tree, unless what is there is of this source

Needs Cython, a C compiler and the headers of this Python. Where they are missing, decisions run
interpreted, which gives the same bytes and is slower: one line says so, and the exit code is 0.
Where they are there and the kernel does not build, the kernel is wrong: that is an error.

Why no setuptools: it would read pyproject.toml, bring flags of its own, and is one compiler call.
"""

import hashlib
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

MODULE = "scheduler.placement.kernel.kernel"
ROOT = Path(__file__).resolve().parent
FOLDER = Path("scheduler/placement/kernel")
SUFFIX = str(sysconfig.get_config_var("EXT_SUFFIX"))
"""`.cpython-311-x86_64-linux-gnu.so`: a file for another Python or processor has another name."""
PURE_WHEEL = "KAPOK_PURE_WHEEL"
"""Set to 1, the wheel holds no kernel and serves every platform."""

SAME_BYTES = ("-fno-fast-math", "-ffp-contract=off", "-fwrapv")
"""Rounds as NumPy does, operation by operation; integers wrap as NumPy's do."""
FLAGS = ("-O3", "-g0", "-DNDEBUG", "-fPIC", *SAME_BYTES)
SHARED = ("-bundle", "-undefined", "dynamic_lookup") if sys.platform == "darwin" else ("-shared",)

_PROBE = """\
#include <Python.h>
#include <float.h>
#if FLT_EVAL_METHOD != 0 && FLT_EVAL_METHOD != 16
#error "doubles are reckoned with excess precision here: compiled decisions would differ"
#endif
"""


class CannotBuild(Exception):
    """This machine lacks something; decisions run interpreted."""


class KernelIsWrong(Exception):
    """Everything is there, and the kernel does not build."""


def sources(root: Path) -> list[Path]:
    """What the kernel is made of: kernel*.pyx, .pxi, .pxd, by name."""
    folder = root / FOLDER
    return sorted(one for kind in ("pyx", "pxi", "pxd") for one in folder.glob(f"kernel*.{kind}"))


def digest(root: Path) -> str:
    """SHA-256 of the sources and of this file, which holds the flags; baked in as `SOURCE`."""
    found = hashlib.sha256(Path(__file__).read_bytes())
    for one in sources(root):
        found.update(f"\n{one.name}\n".encode() + one.read_bytes())
    return found.hexdigest()


def built_digest(path: Path) -> str | None:
    """What a built kernel was built from; None when there is none that loads here."""
    spec = importlib.util.spec_from_file_location(MODULE, path)
    if not path.exists() or spec is None or spec.loader is None:
        return None
    try:
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except ImportError:
        return None
    return getattr(module, "SOURCE", None)


def build(root: Path, target: Path) -> None:
    """Writes the kernel to `target`, in one step: nobody loads half a file.

    Raises:
        CannotBuild: Cython, a compiler or Python's headers are missing.
        KernelIsWrong: they are there, and refuse the kernel.
    """
    if importlib.util.find_spec("Cython") is None:
        raise CannotBuild("Cython is not installed (pip install 'cython>=3.3,<3.4')")
    compiler = _compiler()
    with tempfile.TemporaryDirectory(prefix="kapok-kernel-") as name:
        work = Path(name)
        _probe(compiler, work)
        made = work / target.name
        _run([*compiler, *FLAGS, *_include(), *SHARED, _as_c(root, work), "-o", made, "-lm"])
        beside = target.with_name(f"{target.name}.{os.getpid()}")
        shutil.copyfile(made, beside)
        beside.replace(target)


def _as_c(root: Path, work: Path) -> Path:
    """Translates a copy that knows the digest of its source."""
    package = work / FOLDER
    package.mkdir(parents=True)
    for one in sources(root):
        shutil.copyfile(one, package / one.name)
    with (package / "kernel.pyx").open("a", encoding="utf-8") as kernel:
        kernel.write(f'\nSOURCE: str = "{digest(root)}"\n')
    c_file = work / "kernel.c"
    cython = [sys.executable, "-m", "cython", "-3", "--module-name", MODULE]
    _run([*cython, "-o", c_file, package / "kernel.pyx"])
    return c_file


def _compiler() -> list[str]:
    """$CC, else Python's own compiler, else what is usual."""
    asked = os.environ.get("CC")
    own = str(sysconfig.get_config_var("CC") or "cc").split()[0]
    for words in [shlex.split(asked)] if asked else [[own], ["cc"], ["gcc"], ["clang"]]:
        if shutil.which(words[0]):
            return words
    raise CannotBuild(f"there is no C compiler ({asked or 'cc, gcc, clang'}); install gcc or clang")


def _include() -> list[str]:
    paths = dict.fromkeys(sysconfig.get_path(name) for name in ("include", "platinclude"))
    return [f"-I{path}" for path in paths]


def _probe(compiler: Sequence[str], work: Path) -> None:
    """Tells what the machine lacks from what the kernel has wrong."""
    source = work / "probe.c"
    source.write_text(_PROBE, encoding="utf-8")
    try:
        _run([*compiler, *FLAGS, *_include(), *SHARED, source, "-o", work / "probe"])
    except KernelIsWrong as error:
        headers = Path(sysconfig.get_path("include")) / "Python.h"
        if not headers.exists():
            raise CannotBuild(
                f"{headers} is missing; install the headers of this Python"
                " (Debian and its kin: python3-dev)"
            ) from error
        raise CannotBuild(f"{compiler[0]} compiles nothing here: {error}") from error


def _run(words: Sequence[str | Path]) -> None:
    done = subprocess.run(  # noqa: S603  # a compiler that this machine names, on our own source
        [str(one) for one in words], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise KernelIsWrong((done.stderr or done.stdout).strip() or f"{words[0]} failed")
    sys.stderr.write(done.stderr)  # warnings, of which there should be none


class KernelHook(BuildHookInterface):  # type: ignore[type-arg]  # any builder's configuration
    """Puts the kernel into a wheel, which then is for this Python and platform."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called before the wheel is written; an editable one finds its kernel in the source."""
        self._work = tempfile.TemporaryDirectory(prefix="kapok-kernel-")
        if os.environ.get(PURE_WHEEL) == "1":
            return
        if version == "editable":
            main(Path(self.root))
            return
        made = Path(self._work.name) / f"kernel{SUFFIX}"
        try:
            build(Path(self.root), made)
        except CannotBuild as error:
            self.app.display_warning(f"a wheel without the kernel: {error}")
            return
        build_data["force_include"][str(made)] = str(FOLDER / made.name)
        build_data["pure_python"], build_data["infer_tag"] = False, True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Called when the wheel is written."""
        del version, build_data, artifact_path
        self._work.cleanup()


def main(root: Path = ROOT) -> int:
    """Builds into the source tree what is not there yet."""
    target = root / FOLDER / f"kernel{SUFFIX}"
    if built_digest(target) == digest(root):
        return 0
    target.unlink(missing_ok=True)  # whatever happens now, an old kernel is not used
    try:
        build(root, target)
    except CannotBuild as error:
        sys.stderr.write(f"decisions run interpreted, slower and with the same answers: {error}\n")
    except KernelIsWrong as error:
        sys.stderr.write(f"the kernel does not build:\n{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
