# Names for the scripts; everything that is done is done there, or by the one command that stands here.
.DEFAULT_GOAL := help
.PHONY: help setup build demo test lint chaos chaos-rings hole backfill-kills evolve torture deb report dashboard fuzz latency burst outage recovery catchup backlog bench clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 20

setup: ## install what is needed: Debian packages and .venv
	@scripts/setup

build: setup ## build spool-writer and spool-loader (release)
	@swift build -c release --static-swift-stdlib

demo: build ## run the main job end to end (CAPTURE=FILE: with your own market_data events)
	@demo/run $(CAPTURE)

test: ## check the style, build, run all tests
	@scripts/setup --test && scripts/test

lint: ## check the style of the Swift sources
	@swift format lint --strict --recursive Sources Tests Package.swift Benchmarks/Sources Benchmarks/Package.swift clients/swift/Sources clients/swift/Package.swift

chaos: build ## 200 rounds of kill -9 under load, then count every row
	@.venv/bin/python Tests/chaos/chaos.py --rounds 200

chaos-rings: build ## 300 s of kill -9 on the writer and on 8 producers with rings, then count every row
	@.venv/bin/python Tests/chaos/rings.py --seconds 300

hole: build ## ROUNDS=100 of killing ClickHouse between a token and its part, then count every row
	@scripts/setup --test && .venv/bin/python Tests/chaos/hole.py --rounds $(or $(ROUNDS),100) $(if $(SEED),--seed $(SEED))

backfill-kills: build ## 500 kills of a backfill of ROWS=20000000, then count every row
	@.venv/bin/python Tests/chaos/backfill_kills.py $(if $(ROWS),--rows $(ROWS)) $(if $(SEED),--seed $(SEED))

evolve: build ## columns are added twice while 25,000 rows/s come in for SECONDS=60, then count every row
	@.venv/bin/python Tests/chaos/evolve.py --seconds $(or $(SECONDS),60) $(if $(SEED),--seed $(SEED))

torture: build ## SECONDS=60 of every fault there is, seeded (SEED=N), then count every row
	@.venv/bin/python Tests/chaos/torture.py --seconds $(or $(SECONDS),60) $(if $(SEED),--seed $(SEED)) $(if $(REPORT),--report $(REPORT))

fuzz: ## SECONDS=600 for each decoder of bytes from outside, by libFuzzer
	@scripts/fuzz $(or $(SECONDS),600)

deb: build ## the Debian package: .build/coldpath_VERSION_ARCH.deb
	@scripts/deb

report: build ## prices with fills, latency, P&L, gaps and the queries' answers, of the demo's data: .build/report
	@.venv/bin/pip install --quiet --disable-pip-version-check matplotlib && .venv/bin/python queries/report.py

dashboard: build ## a picture of the dashboard, of real metrics: docs/pictures/dashboard.png
	@scripts/setup --test && .venv/bin/pip install --quiet --disable-pip-version-check matplotlib && .venv/bin/python ops/grafana/picture.py

latency: build ## 25,000 rows/s for 60 s: time from event to query, memory, CPU
	@.venv/bin/python Benchmarks/latency.py

burst: build ## 50,000 rows/s for 30 s: the same
	@.venv/bin/python Benchmarks/latency.py --rate 50000 --seconds 30

recovery: build ## ClickHouse away for MINUTES=10 under 25,000 rows/s: drained at what rate, live again when
	@.venv/bin/python Benchmarks/recovery.py --minutes $(or $(MINUTES),10)

catchup: build ## a backlog to ClickHouse, beside the same engine reading the same batches itself
	@.venv/bin/python Benchmarks/catchup.py

backlog: build ## GIB=2 of spool (after make bench): the loader's own speed and memory, ls, verify, audit
	@.venv/bin/python Benchmarks/backlog.py --segments 64MiB=$(or $(GIB),2)

outage: build ## 10 million market rows and orders without ClickHouse, then drained (after make bench)
	@.venv/bin/python Benchmarks/outage.py

bench: build ## what publishing and recording a row cost, each beside its floor
	@scripts/setup --bench && Benchmarks/bench.py

clean: ## remove what was built and installed inside this directory
	@rm -rf .build .venv .clickhouse-server Benchmarks/.build clients/swift/.build clients/python/build clients/python/*.egg-info
