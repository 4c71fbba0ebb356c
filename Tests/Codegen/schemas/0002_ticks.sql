-- A small table: names and one text, to fill rings with.
CREATE TABLE IF NOT EXISTS ticks
(
    ts DateTime64(9, 'UTC'),
    symbol LowCardinality(String),
    number UInt32,
    note String,
    spool_writer LowCardinality(String),
    spool_seq UInt64,
    INDEX spool_seq_minmax spool_seq TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toDate(ts)
ORDER BY (ts, spool_seq)
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;
