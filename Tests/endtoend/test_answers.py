"""The loader's table of answers against the engine: no number stands under another error's name."""
from __future__ import annotations

import json

from pipeline import Pipeline, binary, run

# Numbers that the engine has given up; servers of 2018 send them.
RETIRED = {368: "BAD_CAST"}


def test_each_number_of_the_table_has_the_engines_name(pipeline: Pipeline) -> None:
    answers = json.loads(run([binary("spool-loader"), "answers", "--json"]).stdout)
    table = {answer["number"]: answer["name"] for answer in answers if answer["from"] == "ClickHouse"}
    assert len(table) > 150
    numbers = ", ".join(map(str, table))
    engine = dict(pipeline.clickhouse.rows(
        f"SELECT n, errorCodeToName(toInt32(n)) FROM (SELECT arrayJoin([{numbers}]) AS n)"))
    assert table == {number: name or RETIRED.get(number) for number, name in engine.items()}


def test_an_error_is_explained_by_number_name_and_status() -> None:
    text = run([binary("spool-loader"), "answers", "252"]).stdout
    assert "cuts the batch smaller" in text and "backs off" in text
    assert "loader.password_file" in run([binary("spool-loader"), "answers", "authentication_failed"]).stdout
    assert "client_max_body_size" in run([binary("spool-loader"), "answers", "413"]).stdout
    refused = run([binary("spool-loader"), "answers", "NO_SUCH_ERROR"], expect=(1,))
    assert refused.stdout == "" and "NO_SUCH_ERROR is not in the table" in refused.stderr
