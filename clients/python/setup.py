"""Builds the extension. The ring's header belongs to the repository; a copy of it travels in source distributions."""
import os
import shutil
from pathlib import Path

from setuptools import Extension, setup

HERE = Path(__file__).resolve().parent
HEADER = HERE.parents[1] / "Sources" / "CSpoolRing" / "include" / "coldpath_ring.h"
COPY = HERE / "src" / "coldpath_ring.h"

if HEADER.exists() and (not COPY.exists() or COPY.read_bytes() != HEADER.read_bytes()):
    # Renamed into place: builds may run side by side.
    temporary = COPY.with_suffix(f".{os.getpid()}.tmp")
    shutil.copyfile(HEADER, temporary)
    temporary.replace(COPY)
if not COPY.exists():
    raise SystemExit(f"setup.py: no {HEADER} and no {COPY}: install from the repository, or from a source distribution made there")

setup(ext_modules=[Extension(
    "coldpath._ring", ["src/_ring.c"], include_dirs=["src"], depends=["src/coldpath_ring.h", "src/common.h", "src/values.h", "src/rows.h", "src/table.h"],
    extra_compile_args=["-O2", "-Wall", "-Wextra", "-Wno-missing-field-initializers", "-Wno-cast-function-type", "-Wno-unused-parameter"])])
