-- Coarse metrics kept for offline analysis (queue usage, feed latency, API rate). Not a replacement for a monitoring
-- system. Class "market": may be thinned under pressure.
CREATE TABLE IF NOT EXISTS metrics_timeseries
(
    ts DateTime64(9, 'UTC') CODEC(DoubleDelta, LZ4) COMMENT 'Time of the reading',
    source LowCardinality(String) COMMENT 'Process or host that measured',
    metric LowCardinality(String),
    -- A measurement, not money. NaN and infinities have no JSON form: leave such a reading out.
    value Float64,
    unit LowCardinality(String) DEFAULT '' COMMENT 'seconds, bytes, rows, ratio, ...',
    symbol LowCardinality(String) DEFAULT '' COMMENT 'Empty for metrics that concern no symbol',
    -- Two parallel arrays, one name and one value a label: open labels without a Map, whose order of keys is not kept.
    label_names Array(String),
    label_values Array(String),
    -- The name of the row: (spool_writer, spool_seq) is unique, so missing and repeated rows can be counted.
    -- A constant and a counter: compressed as such, a fraction of a byte a row.
    spool_writer LowCardinality(String),
    spool_seq UInt64 CODEC(DoubleDelta, LZ4),
    -- Answers "is this range here?" after a lost connection without reading the table.
    INDEX spool_seq_minmax spool_seq TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
-- By day, like market_data: many rows, a short life, dropped by whole days.
PARTITION BY toDate(ts)
-- One metric over time; neighbours alike compress best.
ORDER BY (metric, source, symbol, ts, spool_seq)
-- As long as the market data that it helps to explain.
TTL toDateTime(ts) + INTERVAL 90 DAY DELETE
-- Window: without it a plain MergeTree ignores dedup tokens; it counts parts, so 10000 outlives long outages.
-- Whole parts: an expired day is unlinked, never rewritten row by row.
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;
