-- A table that changes in every way that evolution knows: one file a version. Spools that writers of each version made lie beside this
-- directory (v1 to v7), and are never made anew.
CREATE TABLE IF NOT EXISTS trades
(
    ts DateTime64(9, 'UTC') CODEC(DoubleDelta, LZ4),
    id String,
    side Enum8('buy' = 1, 'sell' = 2),
    px Float32,
    qty Int32,
    fee Decimal(9, 2) DEFAULT 0,
    small UInt8 DEFAULT 7,
    levels Array(UInt8),
    venue String DEFAULT 'none',
    note Nullable(String),
    spool_writer LowCardinality(String),
    spool_seq UInt64 CODEC(DoubleDelta, LZ4),
    INDEX spool_seq_minmax spool_seq TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(ts)
ORDER BY (id, ts, spool_seq)
SETTINGS non_replicated_deduplication_window = 10000;
