-- The life of every order: one row for each change of status, never updated. The row with the highest spool_seq of an
-- order is its latest state. Class "audit": never sampled, never dropped while the disk has room.
CREATE TABLE IF NOT EXISTS orders
(
    -- The same in every row of an order, so that its whole life lies in one partition.
    ts_intent DateTime64(9, 'UTC') CODEC(DoubleDelta, LZ4) COMMENT 'When the strategy decided; equal in all rows of an order',
    -- Null until it happened: a time of 0 would be a lie in an audit.
    ts_send Nullable(DateTime64(9, 'UTC')) COMMENT 'When the order left for the broker; null while it has not',
    ts_ack Nullable(DateTime64(9, 'UTC')) COMMENT 'When the broker answered; null while it has not',
    -- Nearly unique, so a dictionary would only add to it: plain String.
    client_order_id String,
    broker_order_id String DEFAULT '' COMMENT 'Empty until the broker has named the order',
    strategy LowCardinality(String),
    symbol LowCardinality(String),
    -- Closed sets that this system defines, so enums: one byte, and a word outside the set is refused at the edge.
    side Enum8('buy' = 1, 'sell' = 2),
    -- Exact: 28 digits before the point and 10 after hold satoshi as well as fee fractions.
    qty Decimal(38, 10) COMMENT 'Ordered quantity, always positive; side gives the direction',
    -- Null, because a market order has no limit, and 0 or a negative price can be one (spreads, energy).
    limit_px Nullable(Decimal(38, 10)) COMMENT 'Null for orders without a limit',
    order_type Enum8('market' = 1, 'limit' = 2, 'stop' = 3, 'stop_limit' = 4, 'trailing_stop' = 5, 'pegged' = 6),
    tif Enum8('day' = 1, 'gtc' = 2, 'ioc' = 3, 'fok' = 4, 'gtd' = 5, 'gtx' = 6, 'at_open' = 7, 'at_close' = 8) COMMENT 'Time in force; gtx is post-only',
    status Enum8('new' = 1, 'sent' = 2, 'acked' = 3, 'partially_filled' = 4, 'filled' = 5, 'cancel_pending' = 6, 'cancelled' = 7, 'replace_pending' = 8, 'replaced' = 9, 'rejected' = 10, 'expired' = 11),
    -- Owned by brokers and by the risk engine: a new word there must not make us refuse an audit row.
    reject_reason LowCardinality(String) DEFAULT '' COMMENT 'Empty unless rejected',
    risk_mode LowCardinality(String) DEFAULT '' COMMENT 'Mode of the risk engine at ts_intent',
    risk_decision_id String DEFAULT '' COMMENT 'The decision that let the order pass; risk_decisions joins by client_order_id',
    -- The name of the row: (spool_writer, spool_seq) is unique, so missing and repeated rows can be counted.
    -- A constant and a counter: compressed as such, a fraction of a byte a row.
    spool_writer LowCardinality(String),
    spool_seq UInt64 CODEC(DoubleDelta, LZ4),
    -- Answers "is this range here?" after a lost connection without reading the table.
    INDEX spool_seq_minmax spool_seq TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
-- By month: 7 years are 84 partitions, so a backfill of everything stays below ClickHouse's 100 an insert.
PARTITION BY toYYYYMM(ts_intent)
-- An auditor asks for one order and reads its rows side by side; spool_seq puts them into the order of their happening.
ORDER BY (client_order_id, ts_intent, spool_seq)
TTL toDateTime(ts_intent) + INTERVAL 7 YEAR DELETE
-- Window: without it a plain MergeTree ignores dedup tokens; it counts parts, so 10000 outlives long outages.
-- Whole parts: an expired month is unlinked, never rewritten row by row; rows live up to a month longer for it.
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;
