"""Builds the native core of process locks and the fast path of `RWLock`, or sees to an honest wheel without them.

A probe of two lines is compiled and linked first. If that works, every error in our own code is fatal; if it does not
(or ``RWLOCKS_NO_NATIVE=1``), the extensions are taken out before the wheel chooses its tag, so that it becomes a
``py3-none-any`` one, and nothing that an earlier build has left behind gets into it. ``RWLOCKS_NATIVE=1`` insists: then
the probe has to work. ``RWLOCKS_PORTABLE=1`` builds the variant that needs no futex.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from setuptools import Extension
from setuptools.command.bdist_wheel import bdist_wheel as _bdist_wheel
from setuptools.command.build_ext import build_ext as _build_ext
from setuptools.errors import CompileError, PlatformError

if TYPE_CHECKING:
    from setuptools import Distribution

__all__ = ["bdist_wheel", "build_ext"]

CSRC = Path(__file__).resolve().parent
COMPILED = "rwlocks.compiled."
NATIVE = "rwlocks.backends.process._native"
FASTPATH = "rwlocks._fastpath"
# The slow path of `RWLock`, compiled from the source that is also its plain variant; see rwlocks/_variant.py.
TWICE = (
    "_acquire",
    "_core",
    "_deadlock",
    "_engine",
    "_guards",
    "_line",
    "_monitor",
    "_nesting",
    "_runtimes",
    "_steps",
    "_ticket",
    "_views",
    "backends._anyio",
    "backends._asyncio",
    "backends._delivery",
    "backends._threads",
)
FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
PROBE = "#include <Python.h>\nint main(void) { return 0; }\n"


def source_of(name: str) -> str:
    """The path of a module of the package."""
    package, _, module = name.rpartition(".")
    return f"{package or 'rwlocks'}/{module}.py"


def asked(variable: str) -> bool:
    """Whether the environment says yes."""
    return os.environ.get(variable, "") not in {"", "0"}


def say(message: str) -> None:
    """Into the build log, where pip shows it with -v, and always when the build fails."""
    print(f"rwlocks: {message}", file=sys.stderr)  # noqa: T201


def without_native(distribution: Distribution, why: str) -> None:
    """Make it a distribution of pure Python."""
    say(f"building WITHOUT compiled parts: {why}. RWLock will be slower, ProcessRWLock will raise BackendUnavailable")
    distribution.ext_modules = []
    # `has_ext_modules` is asked by the commands that choose between build/lib and build/lib.PLATFORM.
    distribution.has_ext_modules = lambda: False


def decide(distribution: Distribution) -> None:
    """Once for each distribution: native or not. Raises PlatformError if native is insisted on and impossible."""
    if not distribution.ext_modules:
        return
    insists = asked("RWLOCKS_NATIVE")
    if asked("RWLOCKS_NO_NATIVE"):
        without_native(distribution, "RWLOCKS_NO_NATIVE is set")
    elif not sys.platform.startswith("linux") and not insists:
        without_native(distribution, f"it is not written for {sys.platform} yet")
    elif sys.implementation.name != "cpython" and not insists:
        without_native(distribution, f"it is written for CPython, not for {sys.implementation.name}")
    elif (trouble := probe(distribution)) is not None:
        if insists:
            raise PlatformError(f"RWLOCKS_NATIVE is set, and no C program can be built here: {trouble}")
        without_native(distribution, f"no C program can be built here ({trouble})")
    else:
        say("building with the native core")
        if FREE_THREADED:
            say("building with the slow path of RWLock in plain Python: compiled it relies on the interpreter's lock")
        elif not any(extension.name.startswith(COMPILED) for extension in distribution.ext_modules):
            distribution.ext_modules += [Extension(COMPILED + name, [source_of(name)]) for name in TWICE]


def probe(distribution: Distribution) -> str | None:
    """Compile and link as the extensions will be; what went wrong, or None."""
    command = distribution.get_command_obj("build_ext", create=False) or _build_ext(distribution)
    from setuptools._distutils.ccompiler import new_compiler
    from setuptools._distutils.sysconfig import customize_compiler

    compiler = new_compiler(compiler=getattr(command, "compiler", None))
    customize_compiler(compiler)
    includes = [sysconfig.get_path("include"), sysconfig.get_path("platinclude")]
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "probe.c")
        source.write_text(PROBE, encoding="utf-8")
        try:
            objects = compiler.compile([str(source)], output_dir=folder, include_dirs=includes)
            compiler.link_shared_object(objects, str(Path(folder, "probe.so")))
        except Exception as error:  # noqa: BLE001 - whatever it is: every compiler module has errors of its own
            return str(error) or type(error).__name__
    return None


class build_ext(_build_ext):  # noqa: N801 - the name of the command
    """Compiles both doors from the same C, the cffi one through a wrapper generated into the build tree."""

    one_door_at_a_time = threading.Lock()

    def run(self) -> None:
        decide(self.distribution)
        self.extensions = self.distribution.ext_modules
        sources = self.laid_out()
        for ext in self.extensions:
            if ext.name.startswith(COMPILED):
                ext.sources = [str(self.translated(ext, sources))]
                # A tenth faster between tasks than -O1. Debugging symbols of what Cython writes help nobody.
                ext.extra_compile_args = ["-O2", "-g0"]
        if self.inplace or self.editable_mode:
            Path("rwlocks", "compiled", "backends").mkdir(parents=True, exist_ok=True)
        self.parallel = True
        super().run()

    def build_extension(self, ext: Extension) -> None:
        if asked("RWLOCKS_PORTABLE"):
            ext.define_macros = [*ext.define_macros, ("RWL_PORTABLE", "1")]
        if FREE_THREADED:
            ext.py_limited_api = False
        if ext.name == FASTPATH and FREE_THREADED:
            ext.sources = [source.replace("engine_fields", "engine_slots") for source in ext.sources]
        if ext.name == FASTPATH:
            ext.include_dirs = [*ext.include_dirs, self.build_temp]  # what Cython has written down of its structs
        if ext.name == NATIVE:
            wrapper = self.wrapper(ext.name)
            if str(wrapper) not in ext.sources:
                ext.sources = [*ext.sources, str(wrapper)]
        if ext.name.startswith(COMPILED):
            super().build_extension(ext)
        else:
            # Both doors compile the same files into the same objects, each with macros of its own.
            with self.one_door_at_a_time:
                super().build_extension(ext)

    def translated(self, ext: Extension, sources: Path) -> Path:
        """The module as C, made into the build tree, with what a .pxd file beside the source says of its types."""
        from Cython.Compiler.Main import CompilationOptions, compile_single

        name = ext.name.removeprefix(COMPILED)
        path = Path(self.build_temp, f"{name.replace('.', '_')}.c")
        # Annotations are for people and type checkers: here they change nothing. But None has no attributes here, too.
        directives = {"language_level": 3, "annotation_typing": False, "nonecheck": True}
        options = CompilationOptions(output_file=str(path), compiler_directives=directives, include_path=[str(sources)])
        source = Path(sources, "rwlocks", *name.split(".")).with_suffix(".py")
        result = compile_single(str(source), options, full_module_name=f"rwlocks.{name}")
        if result.num_errors:
            raise CompileError(f"{source} cannot be translated")
        return path

    def laid_out(self) -> Path:
        """A folder in which the modules that are compiled lie as they are named."""
        folder = Path(self.build_temp, "sources")
        shutil.rmtree(folder, ignore_errors=True)
        for package, where in (("rwlocks", "rwlocks"), ("rwlocks/backends", "backends")):
            Path(folder, package).mkdir(parents=True, exist_ok=True)
            for path in (*Path(where).glob("*.py"), *Path(where).glob("*.pxd")):
                shutil.copy2(path, Path(folder, package))
        return folder

    def wrapper(self, name: str) -> Path:
        from cffi import FFI

        ffi: Any = FFI()
        ffi.cdef((CSRC / "native.cdef").read_text(encoding="utf-8"))
        ffi.set_source(name, '#include "native.h"')
        path = Path(self.build_temp, "_native.c")
        path.parent.mkdir(parents=True, exist_ok=True)
        ffi.emit_c_code(str(path))
        return path


class bdist_wheel(_bdist_wheel):  # noqa: N801 - the name of the command
    """Decides before the tag is chosen."""

    def finalize_options(self) -> None:
        decide(self.distribution)
        super().finalize_options()

    def run(self) -> None:
        if not self.distribution.ext_modules:
            self.remove_stale()
        super().run()

    def remove_stale(self) -> None:
        """What an earlier native build in this tree has left where this one collects its files."""
        build: Any = self.get_finalized_command("build")
        package = Path(build.build_lib, "rwlocks")
        for pattern in ("_fastpath.*", "compiled/**/*.*", "backends/process/_fast.*", "backends/process/_native.*"):
            for path in package.glob(pattern):
                if path.suffix != ".pyi":
                    path.unlink()
