-- One row for each intent that the risk engine judged, with the inputs it judged by. Class "audit".
CREATE TABLE IF NOT EXISTS risk_decisions
(
    ts DateTime64(9, 'UTC') CODEC(DoubleDelta, LZ4) COMMENT 'Time of the decision',
    strategy LowCardinality(String),
    symbol LowCardinality(String),
    client_order_id String COMMENT 'The intent that was judged; also set when no order came of it',
    -- Owned by the risk engine: a new word there must not make us refuse an audit row, so no enum.
    decision LowCardinality(String) COMMENT 'As the risk engine says it: allow, reject, reduce, ...',
    reason_code LowCardinality(String) DEFAULT '' COMMENT 'Empty when nothing stood against it',
    risk_mode LowCardinality(String),
    -- Null, because not every check looks at every input, and "not looked at" is not 0.
    position Nullable(Decimal(38, 10)) COMMENT 'Signed position before the intent',
    notional Nullable(Decimal(38, 10)) COMMENT 'Value of the intent',
    pnl Nullable(Decimal(38, 10)) COMMENT 'Day P&L the check saw',
    -- A rate is a measurement, not money.
    order_rate Nullable(Float64) COMMENT 'Orders per second the check saw',
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
-- "Why was this order allowed?" starts from the order, as the key of orders does.
ORDER BY (client_order_id, ts, spool_seq)
TTL toDateTime(ts) + INTERVAL 7 YEAR DELETE
-- Window: without it a plain MergeTree ignores dedup tokens; it counts parts, so 10000 outlives long outages.
-- Whole parts: an expired month is unlinked, never rewritten row by row; rows live up to a month longer for it.
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;
