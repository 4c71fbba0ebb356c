-- Position snapshots, one row for each account, symbol and strategy every 1 to 5 seconds. Class "audit".
CREATE TABLE IF NOT EXISTS positions_intraday
(
    ts DateTime64(9, 'UTC') CODEC(DoubleDelta, LZ4) COMMENT 'Time of the snapshot',
    account_id LowCardinality(String),
    symbol LowCardinality(String),
    strategy LowCardinality(String) DEFAULT '' COMMENT 'Empty for the position of the whole account',
    -- Money and quantity are exact: 28 digits before the point and 10 after.
    position_qty Decimal(38, 10) COMMENT 'Signed: negative is short',
    avg_price Nullable(Decimal(38, 10)) COMMENT 'Average entry price; null when flat, which has none',
    realized_pnl Decimal(38, 10) COMMENT 'Since the start of the day, before fees',
    -- Null, because what needs a mark price is unknown before the first one of the day.
    unrealized_pnl Nullable(Decimal(38, 10)) COMMENT 'Against the mark price; null while there is none',
    fees_accum Decimal(38, 10) COMMENT 'Fees since the start of the day',
    gross_exposure Nullable(Decimal(38, 10)) COMMENT '|quantity| * mark; null while there is no mark',
    net_exposure Nullable(Decimal(38, 10)) COMMENT 'quantity * mark; null while there is no mark',
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
-- One position over time is the question; equal neighbours also compress best, and snapshots repeat themselves.
ORDER BY (account_id, symbol, strategy, ts, spool_seq)
TTL toDateTime(ts) + INTERVAL 3 YEAR DELETE
-- Window: without it a plain MergeTree ignores dedup tokens; it counts parts, so 10000 outlives long outages.
-- Whole parts: an expired month is unlinked, never rewritten row by row; rows live up to a month longer for it.
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;
