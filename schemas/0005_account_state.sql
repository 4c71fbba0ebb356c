-- Account snapshots: equity, cash, margin. Class "audit".
CREATE TABLE IF NOT EXISTS account_state
(
    ts DateTime64(9, 'UTC') CODEC(DoubleDelta, LZ4) COMMENT 'Time of the snapshot',
    account_id LowCardinality(String),
    -- Money is exact: 28 digits before the point and 10 after.
    equity Decimal(38, 10) COMMENT 'Cash plus the value of positions, in the currency of the account',
    cash Decimal(38, 10),
    -- Null, because a cash account has no margin, and 0 available would read as a margin call.
    margin_used Nullable(Decimal(38, 10)) COMMENT 'Null for accounts without margin',
    margin_available Nullable(Decimal(38, 10)) COMMENT 'Null for accounts without margin',
    day_pnl Decimal(38, 10) COMMENT 'Equity less equity at the start of the day, after fees',
    risk_mode LowCardinality(String) DEFAULT '' COMMENT 'Mode of the risk engine; its owner names it',
    -- The name of the row: (spool_writer, spool_seq) is unique, so missing and repeated rows can be counted.
    -- A constant and a counter: compressed as such, a fraction of a byte a row.
    spool_writer LowCardinality(String),
    spool_seq UInt64 CODEC(DoubleDelta, LZ4),
    -- Answers "is this range here?" after a lost connection without reading the table.
    INDEX spool_seq_minmax spool_seq TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
-- By month: 3 years are 36 partitions, below ClickHouse's 100 an insert even for a backfill of everything.
PARTITION BY toYYYYMM(ts)
-- One account over time.
ORDER BY (account_id, ts, spool_seq)
TTL toDateTime(ts) + INTERVAL 3 YEAR DELETE
-- Window: without it a plain MergeTree ignores dedup tokens; it counts parts, so 10000 outlives long outages.
-- Whole parts: an expired month is unlinked, never rewritten row by row; rows live up to a month longer for it.
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;
