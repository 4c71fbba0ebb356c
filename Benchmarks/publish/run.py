"""What publishing one row of Benchmarks/schemas costs in C, Swift and Python. Run by `make publish`, after a release build.

C and Swift: thread CPU over bursts of 1 M rows into a 256 MiB ring that nobody reads, typed rows against a memcpy of the same encoded
row through the same claim and commit, in one process by turns. Python: against json.dumps and a write to a file, by turns.
The least of the rounds is shown: what other work on the machine adds is not ours.
"""
from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RELEASE = ROOT / ".build" / "release"
INCLUDE = ROOT / "Sources" / "CSpoolRing" / "include"


def generate(language: str, output: Path) -> Path:
    subprocess.run([RELEASE / "spool-writer", "codegen", "--lang", language, "--schemas", ROOT / "Benchmarks" / "schemas", "--output", output], check=True)
    return output


def measured(name: str, program: Path, rings: Path, rounds: int) -> None:
    lines = subprocess.run([program, rings, str(rounds)], check=True, capture_output=True, text=True).stdout.splitlines()
    pairs = [tuple(map(float, re.findall(r"[\d.]+", line))) for line in lines]
    copied, typed = min(pair[0] for pair in pairs), min(pair[1] for pair in pairs)
    print(f"{name:8} typed {typed:6.1f} ns/row   memcpy {copied:6.1f} ns/row   ratio {typed / copied:.2f}")


def main(rounds: int) -> None:
    rings = Path(tempfile.mkdtemp(prefix="coldpath-publish-", dir="/dev/shm"))
    work = Path(tempfile.mkdtemp(prefix="coldpath-publish-"))
    try:
        generate("c", work / "bench_rows.h")
        for compiler in filter(shutil.which, ("gcc", "clang")):
            program = work / compiler
            subprocess.run([compiler, "-std=c11", "-O2", f"-I{INCLUDE}", f"-I{work}", HERE / "publish.c", "-o", program], check=True)
            measured(compiler, program, rings, rounds)
        program = work / "swift"
        subprocess.run(
            ["swiftc", "-O", "-wmo", "-swift-version", "6", "-parse-as-library", "-I", RELEASE / "Modules", "-I", INCLUDE, "-Xcc",
             f"-fmodule-map-file={INCLUDE / 'module.modulemap'}", HERE / "publish.swift", generate("swift", work / "BenchRows.swift"),
             *sorted((RELEASE / "SpoolClient.build").glob("*.o")), "-o", program], check=True)
        measured("swift", program, rings, rounds)
        venv.create(work / "venv", with_pip=True)
        python = work / "venv" / "bin" / "python"
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", ROOT / "clients" / "python"], check=True)
        generate("python", work / "bench_rows.py")
        subprocess.run([python, HERE / "publish.py", rings, str(rounds)], check=True, env={"PYTHONPATH": str(work)})
    finally:
        shutil.rmtree(rings)
        shutil.rmtree(work)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
