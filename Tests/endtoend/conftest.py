"""What all end-to-end tests share: real processes in a temporary directory, and small inputs. They use the release build."""
from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "demo"))
pytest.register_assert_rewrite("checks")

from pipeline import Pipeline  # noqa: E402

QUICK = """
# Failures are repeated at once: the tests are about what happens, not about patience.
[writer]
chunk_rows = 100
[loader]
batch_rows = 200
linger = "10ms"
poll = "50ms"
timeout = "2s"
backoff = "30ms"
backoff_max = "500ms"
"""

MakePipeline = Callable[..., Pipeline]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-answers", action="store_true", help="write the table of docs/answers.md (test_lying_server.py)")


@pytest.fixture
def make_pipeline(tmp_path: Path) -> Iterator[MakePipeline]:
    """Makes pipelines whose processes are gone when the test ends."""
    made: list[Pipeline] = []

    def make(name: str = "pipeline", settings: str = QUICK, **options: object) -> Pipeline:
        pipeline = Pipeline(tmp_path / name, settings=settings, **options)  # type: ignore[arg-type]
        made.append(pipeline)
        return pipeline

    yield make
    for pipeline in made:
        pipeline.kill()


@pytest.fixture
def pipeline(make_pipeline: MakePipeline) -> Pipeline:
    """A pipeline with faults on demand, its ClickHouse running and its tables created."""
    made = make_pipeline(faults=True)
    made.start_clickhouse()
    return made


def generated(script: str, *arguments: str, to: Path) -> Path:
    subprocess.run([sys.executable, str(ROOT / "demo" / script), *arguments, "--out", str(to)], check=True, stderr=subprocess.DEVNULL)
    return to


@pytest.fixture(scope="session")
def market_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """3,000 market_data events."""
    return generated("sample_market_data.py", "--rows", "3000", to=tmp_path_factory.mktemp("input") / "market.jsonl")


@pytest.fixture(scope="session")
def day_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A day of 300 orders with all that belongs to them, and the extremes of the types."""
    return generated("generate_day.py", "--orders", "300", "--hours", "2", to=tmp_path_factory.mktemp("input") / "day.jsonl")


@pytest.fixture(scope="session")
def orders_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Only the orders of such a day: some 1,400 rows of one table."""
    return generated("generate_day.py", "--orders", "300", "--hours", "2", "--tables", "orders",
                     to=tmp_path_factory.mktemp("input") / "orders.jsonl")
