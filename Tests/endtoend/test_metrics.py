"""What the writer says of itself over HTTP."""
from __future__ import annotations

import re
import socket
import urllib.error
import urllib.request

import pytest
from conftest import MakePipeline
from pipeline import Pipeline, free_port, wait_until
from send_events import Producer

LINE = re.compile(r'[a-z_]+(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? -?[0-9.e+-]+')


def scrape(port: int) -> dict[str, float]:
    text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5).read().decode()
    samples: dict[str, float] = {}
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        assert LINE.fullmatch(line), line
        name, value = line.rsplit(" ", 1)
        assert name not in samples, f"{name} twice"
        samples[name] = float(value)
    return samples


def order(number: int) -> bytes:
    return (f'{{"table":"orders","ts_intent":{1_767_323_045_000_000_000 + number},"client_order_id":"O{number}","strategy":"m","symbol":"A","side":"buy",'
            f'"qty":"1","order_type":"limit","limit_px":"2","tif":"gtc","status":"new","risk_mode":"normal"}}\n').encode()


def test_metrics_follow_what_happens_and_no_client_holds_the_writer_up(make_pipeline: MakePipeline) -> None:
    pipeline: Pipeline = make_pipeline()
    port = free_port()
    pipeline.writer.command += ["--metrics", f"127.0.0.1:{port}"]
    pipeline.start_writer()
    assert wait_until(lambda: bool(scrape(port)), 5)
    assert scrape(port)['recorder_queue_usage{class="audit"}'] == 0
    # Somebody who connects and says nothing is waited for elsewhere.
    with socket.create_connection(("127.0.0.1", port)):
        producer = Producer(str(pipeline.socket), "p")
        for number in range(500):
            producer.put(order(number))
        assert producer.finish(10)
    assert wait_until(lambda: scrape(port)['recorder_rows_total{table="orders",stage="durable"}'] == 500, 5)
    assert 0 < scrape(port)["recorder_disk_used_ratio"] < 1
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/other", timeout=5)


@pytest.mark.parametrize("address", ["9464", "127.0.0.1:", "127.0.0.1:0", "example.org:9464", "127.0.0.1:99999"])
def test_an_address_that_is_none_is_told(make_pipeline: MakePipeline, address: str) -> None:
    pipeline: Pipeline = make_pipeline()
    pipeline.writer.command += ["--metrics", address]
    pipeline.writer.start()
    assert wait_until(lambda: not pipeline.writer.is_alive, 10)
    assert pipeline.writer.status == 64
    assert "writer.metrics" in pipeline.writer.log.read_text()
