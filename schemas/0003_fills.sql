-- Executions, one row each. The sum of fill_qty over an order is its filled quantity; the running signed sum over a
-- strategy and symbol is its position. Class "audit".
CREATE TABLE IF NOT EXISTS fills
(
    ts_exchange DateTime64(9, 'UTC') CODEC(DoubleDelta, LZ4) COMMENT 'Execution time by the exchange',
    ts_local DateTime64(9, 'UTC') CODEC(DoubleDelta, LZ4) COMMENT 'When the report reached us',
    -- Must be sent even if empty: a liquidation by the broker has no order of ours, and the producer has to say so.
    client_order_id String COMMENT 'Empty only for executions that no order of ours asked for',
    broker_order_id String DEFAULT '',
    fill_id String COMMENT 'Execution id of the venue; unique within source',
    strategy LowCardinality(String),
    symbol LowCardinality(String),
    side Enum8('buy' = 1, 'sell' = 2),
    -- Exact: 28 digits before the point and 10 after. A product of two has scale 20 and still 18 digits before it.
    fill_qty Decimal(38, 10) COMMENT 'Always positive; side gives the direction',
    fill_price Decimal(38, 10),
    -- Null is "not reported (yet)", 0 is "reported as nothing": an audit needs the difference, and sum() skips nulls.
    fees Nullable(Decimal(38, 10)) COMMENT 'In the currency of the price; negative is a rebate; null when not reported',
    tax Nullable(Decimal(38, 10)) COMMENT 'In the currency of the price; null when not reported or not applicable',
    source LowCardinality(String) COMMENT 'Who reported it: session, drop copy, reconciliation',
    -- The name of the row: (spool_writer, spool_seq) is unique, so missing and repeated rows can be counted.
    -- A constant and a counter: compressed as such, a fraction of a byte a row.
    spool_writer LowCardinality(String),
    spool_seq UInt64 CODEC(DoubleDelta, LZ4),
    -- Answers "is this range here?" after a lost connection without reading the table.
    INDEX spool_seq_minmax spool_seq TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
-- By month: 7 years are 84 partitions, so a backfill of everything stays below ClickHouse's 100 an insert.
PARTITION BY toYYYYMM(ts_exchange)
-- Cost analysis and backtests read one symbol over a time range beside market_data, which has the same key. The fills
-- of one order are found by its symbol and from its ts_intent on.
ORDER BY (symbol, ts_exchange, spool_seq)
TTL toDateTime(ts_exchange) + INTERVAL 7 YEAR DELETE
-- Window: without it a plain MergeTree ignores dedup tokens; it counts parts, so 10000 outlives long outages.
-- Whole parts: an expired month is unlinked, never rewritten row by row; rows live up to a month longer for it.
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;
