"""Builds what the tests of the clients need, once for a run: generated code, producers in each language, the Python package."""
from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RELEASE = ROOT / ".build" / "release"
INCLUDE = ROOT / "Sources" / "CSpoolRing" / "include"
SCHEMAS = ROOT / "Tests" / "Codegen" / "schemas"
PRODUCERS = ROOT / "Tests" / "endtoend" / "producers"
C_FLAGS = ["-O2", "-Wall", "-Wextra", "-Wpedantic", "-Werror", f"-I{INCLUDE}"]

C_COMPILERS = [name for name in ("gcc", "clang") if shutil.which(name)]
CXX_COMPILERS = [name for name in ("g++", "clang++") if shutil.which(name)]


@functools.cache
def workshop() -> Path:
    """A directory of this run."""
    directory = tempfile.TemporaryDirectory(prefix="coldpath-clients-", ignore_cleanup_errors=True)
    globals()["_kept"] = directory  # gone with the interpreter
    return Path(directory.name)


@functools.cache
def generated(language: str, name: str, schemas: Path = SCHEMAS) -> Path:
    output = workshop() / name
    subprocess.run([RELEASE / "spool-writer", "codegen", "--lang", language, "--schemas", schemas, "--output", output], check=True)
    return output


def compiled(command: list[str | Path]) -> None:
    made = subprocess.run(command, capture_output=True, text=True)
    assert made.returncode == 0, f"{command}\n{made.stdout}{made.stderr}"


@functools.cache
def c_producer(compiler: str, *options: str) -> list[str]:
    generated("c", "every_type.h")
    output = workshop() / f"producer-{compiler}{len(options)}"
    compiled([compiler, "-std=c11", *C_FLAGS, *options, f"-I{workshop()}", PRODUCERS / "producer.c", "-o", output])
    return [str(output)]


def swift_command(*sources: str | Path) -> list[str | Path]:
    """Compiles against SpoolClient as the release build left it: SwiftPM would resolve and build a package for each snippet."""
    return ["swiftc", "-O", "-swift-version", "6", "-warnings-as-errors", "-parse-as-library", "-I", RELEASE / "Modules", "-I", INCLUDE,
            "-Xcc", f"-fmodule-map-file={INCLUDE / 'module.modulemap'}", *sources]


@functools.cache
def swift_producer() -> list[str]:
    output = workshop() / "producer-swift"
    objects = sorted((RELEASE / "SpoolClient.build").glob("*.o"))
    compiled([*swift_command(PRODUCERS / "producer.swift", generated("swift", "EveryType.swift")), "-wmo", *objects, "-o", output])
    return [str(output)]


@functools.cache
def python_packages() -> Path:
    """The package `coldpath`, installed from the tree as a user does, and the generated module beside it."""
    packages = workshop() / "packages"
    environment = dict(os.environ)
    if not shutil.which((sysconfig.get_config_var("CC") or "cc").split()[0]):
        environment |= {"CC": "clang", "LDSHARED": "clang -shared"}
    # A copy: building leaves its traces in the directory that it is given.
    tree = workshop() / "tree"
    shutil.copytree(ROOT / "clients" / "python", tree / "clients" / "python", ignore=shutil.ignore_patterns("build", "*.egg-info", "*.so", "coldpath_ring.h"))
    shutil.copytree(INCLUDE, tree / "Sources" / "CSpoolRing" / "include")
    compiled_with = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-build-isolation", "--no-deps", "--no-index",
         "--target", packages, tree / "clients" / "python"], capture_output=True, text=True, env=environment)
    assert compiled_with.returncode == 0, compiled_with.stdout + compiled_with.stderr
    shutil.copy(generated("python", "every_type.py"), packages)
    return packages


@functools.cache
def python_producer() -> list[str]:
    return [sys.executable, "-W", "error", str(PRODUCERS / "producer.py")]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(python_packages())}


PRODUCERS_BY_NAME = {
    **{f"c-{name}": functools.partial(c_producer, name) for name in C_COMPILERS},
    "c-sanitized": functools.partial(c_producer, "clang", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
    "swift": swift_producer,
    "python": python_producer,
}
