-- Changes of the guardrail's mode, with what caused them: a handful of rows a day. Class "audit".
CREATE TABLE IF NOT EXISTS guardrail_transitions
(
    ts DateTime64(9, 'UTC') CODEC(DoubleDelta, LZ4) COMMENT 'Time of the transition',
    -- Modes and triggers are the guardrail's own words, so no enums.
    prev_mode LowCardinality(String),
    next_mode LowCardinality(String),
    trigger_metric LowCardinality(String) COMMENT 'Metric that crossed its limit, or manual',
    -- A metric, not money; null, because a transition by hand has no value.
    value Nullable(Float64) COMMENT 'What the metric read',
    reason String DEFAULT '' COMMENT 'For people; free text',
    -- The name of the row: (spool_writer, spool_seq) is unique, so missing and repeated rows can be counted.
    -- A constant and a counter: compressed as such, a fraction of a byte a row.
    spool_writer LowCardinality(String),
    spool_seq UInt64 CODEC(DoubleDelta, LZ4),
    -- Answers "is this range here?" after a lost connection without reading the table.
    INDEX spool_seq_minmax spool_seq TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
-- By month: 7 years are 84 partitions, so a backfill of everything stays below ClickHouse's 100 an insert.
PARTITION BY toYYYYMM(ts)
-- Few rows, always asked for by time: which mode held at this moment?
ORDER BY (ts, spool_seq)
TTL toDateTime(ts) + INTERVAL 7 YEAR DELETE
-- Window: without it a plain MergeTree ignores dedup tokens; it counts parts, so 10000 outlives long outages.
-- Whole parts: an expired month is unlinked, never rewritten row by row; rows live up to a month longer for it.
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;
