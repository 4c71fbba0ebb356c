"""What the scripts here share: a seed that repeats a run's choices, a work directory that is kept where something is wrong, and how a run ends."""
from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path


def parser(doc: str | None, verbose: str) -> argparse.ArgumentParser:
    """With the options that all have; `verbose` says what --verbose says."""
    parser = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    parser.add_argument("--seed", type=int, help="to repeat a run's choices (default: a new one)")
    parser.add_argument("--work", type=Path, help="work directory, which must be empty or absent; it is kept")
    if verbose:
        parser.add_argument("--verbose", action="store_true", help=verbose)
    return parser


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    options = parser.parse_args()
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(10 ** 9)
    return options


def work_directory(name: str, options: argparse.Namespace) -> Path:
    directory = options.work or Path(tempfile.mkdtemp(prefix=f"coldpath-{name}-"))
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def not_started(name: str, options: argparse.Namespace, directory: Path, error: Exception) -> int:
    """The exit status of a run in which something could not be started, or came to no end."""
    print(f"{name}: {error}\n  seed {options.seed}; everything is kept in {directory}", file=sys.stderr)
    return 74


def ended(name: str, options: argparse.Namespace, directory: Path, complaints: Sequence[str], also: str = "") -> int:
    """The exit status of a run that came to its end. `also`: what else is kept where something is wrong."""
    if complaints:
        print(f"{name}: FAILED, {len(complaints)} complaints; seed {options.seed}; logs, spool and checkpoints are kept in {directory}{also}",
              file=sys.stderr)
        return 1
    if not options.work:
        shutil.rmtree(directory)
    return 0
