-- Incidents (feed gap, overflow, API limit) and every deliberate loss of recorded data, so that a backtest can know what
-- is missing. A plain incident needs ts, component and event; the columns from table_name to row_count name a loss.
CREATE TABLE IF NOT EXISTS system_events
(
    ts DateTime64(9, 'UTC') CODEC(DoubleDelta, LZ4) COMMENT 'When it was noticed',
    component LowCardinality(String) COMMENT 'Who says so',
    -- Open sets: every component brings its own events and reasons.
    event LowCardinality(String) COMMENT 'What happened: rows_dropped, feed_gap, ...',
    -- Closed set; the default keeps a plain incident short.
    severity Enum8('debug' = 1, 'info' = 2, 'warning' = 3, 'error' = 4, 'critical' = 5) DEFAULT 'info',
    table_name LowCardinality(String) DEFAULT '' COMMENT 'Table whose rows were lost; empty for other incidents',
    symbol LowCardinality(String) DEFAULT '' COMMENT 'Empty for all symbols',
    -- Null, because most incidents have no range, and an open range is different from one that begins in 1970.
    range_from Nullable(DateTime64(9, 'UTC')) COMMENT 'Event time of the first row lost',
    range_to Nullable(DateTime64(9, 'UTC')) COMMENT 'Event time of the last row lost',
    -- Null for rows that never had a sequence, such as those refused before the spool; 0 is a sequence.
    seq_from Nullable(UInt64) COMMENT 'First spool_seq lost',
    seq_to Nullable(UInt64) COMMENT 'Last spool_seq lost',
    row_count UInt64 DEFAULT 0 COMMENT 'How many rows were lost',
    reason LowCardinality(String) DEFAULT '' COMMENT 'Why: disk_pressure, sampling, queue_full, ...',
    detail String DEFAULT '' COMMENT 'For people; free text',
    -- The name of the row: (spool_writer, spool_seq) is unique, so missing and repeated rows can be counted.
    -- A constant and a counter: compressed as such, a fraction of a byte a row.
    spool_writer LowCardinality(String),
    spool_seq UInt64 CODEC(DoubleDelta, LZ4),
    -- Answers "is this range here?" after a lost connection without reading the table.
    INDEX spool_seq_minmax spool_seq TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
-- By month: a handful of partitions, each of few parts.
PARTITION BY toYYYYMM(ts)
-- Few rows, always asked for by time: what happened around this moment?
ORDER BY (ts, spool_seq)
-- Twice as long as market_data, so that a recorded gap outlives the data it explains.
TTL toDateTime(ts) + INTERVAL 6 MONTH DELETE
-- Window: without it a plain MergeTree ignores dedup tokens; it counts parts, so 10000 outlives long outages.
-- Whole parts: an expired month is unlinked, never rewritten row by row; rows live up to a month longer for it.
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;
