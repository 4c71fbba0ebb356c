-- The row that publishing and draining are measured with: 15 columns of fixed width, 4 names that repeat, 1 unique text of 20 bytes.
CREATE TABLE IF NOT EXISTS bench_events
(
    ts DateTime64(9, 'UTC') CODEC(DoubleDelta, LZ4) COMMENT 'Event time',
    ts_local DateTime64(9, 'UTC') CODEC(DoubleDelta, LZ4),
    seq_no UInt64,
    order_id UInt64,
    price Decimal(18, 8),
    qty Decimal(18, 8),
    bid Float64,
    ask Float64,
    bid_size Float64,
    ask_size Float64,
    latency_ns UInt32,
    flags UInt32,
    level UInt16,
    kind Enum8('new' = 1, 'change' = 2, 'cancel' = 3, 'fill' = 4),
    is_maker Bool,
    symbol LowCardinality(String),
    venue LowCardinality(String),
    strategy LowCardinality(String),
    account LowCardinality(String),
    client_id String,
    spool_writer LowCardinality(String),
    spool_seq UInt64 CODEC(DoubleDelta, LZ4),
    INDEX spool_seq_minmax spool_seq TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toDate(ts)
ORDER BY (symbol, ts, spool_seq)
TTL toDateTime(ts) + INTERVAL 90 DAY DELETE
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;
