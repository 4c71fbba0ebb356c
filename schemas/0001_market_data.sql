-- L1 snapshots with optional top-5 depth, and trades: one row for each change of the best bid or ask, each trade
-- and, where configured, each sampling tick. Feeds backtests and market statistics. Class "market": may be thinned
-- under pressure, and every thinning leaves a row in system_events.
CREATE TABLE IF NOT EXISTS market_data
(
    -- Nanoseconds, because exchanges and captures have them; UTC in the type, so that no server setting shifts a day.
    -- DoubleDelta: times and sequences rise almost evenly; 30 % fewer bytes for the whole table at no cost in
    -- reading. The other columns keep the default LZ4: see docs/schemas.md for what else was measured.
    ts_exchange DateTime64(9, 'UTC') CODEC(DoubleDelta, LZ4) COMMENT 'Event time by the exchange',
    ts_local DateTime64(9, 'UTC') CODEC(DoubleDelta, LZ4) COMMENT 'Arrival time at our host; ts_local - ts_exchange is feed latency plus clock error',
    -- Names that repeat by the million: a dictionary makes them an index, and filters compare integers.
    symbol LowCardinality(String),
    -- A closed set that this system defines, so an enum: one byte, and a misspelt kind is refused at the edge.
    event Enum8('quote' = 1, 'trade' = 2, 'sample' = 3, 'snapshot' = 4) COMMENT 'Why the row exists: best changed, trade, periodic sample, book rebuilt',
    -- Float64, not Decimal: prices and sizes here feed statistics, any exchange tick below 2^53 units survives the
    -- round trip from text, and a Decimal(38, 10) would double the bytes of the largest table.
    -- Nullable, because before the first quote a price is unknown, and 0 would be a price.
    bid_px1 Nullable(Float64) COMMENT 'Best bid; null before the first quote',
    bid_sz1 Nullable(Float64),
    ask_px1 Nullable(Float64) COMMENT 'Best ask; null before the first quote',
    ask_sz1 Nullable(Float64),
    -- Best first. Empty when the feed gives no depth; an array cannot be null in ClickHouse and need not be.
    bid_px Array(Float64) COMMENT 'Top-5 bid prices, best first; empty when depth is not known',
    bid_sz Array(Float64),
    ask_px Array(Float64) COMMENT 'Top-5 ask prices, best first; empty when depth is not known',
    ask_sz Array(Float64),
    last_price Nullable(Float64) COMMENT 'Last trade seen; in a trade row the trade itself; null before the first trade',
    last_qty Nullable(Float64),
    -- The taker's side. Quotes have none and some feeds do not tell, so the default is 'unknown'.
    aggressor Enum8('unknown' = 0, 'buy' = 1, 'sell' = 2) DEFAULT 'unknown' COMMENT 'Side of the taker, for trades',
    source LowCardinality(String) COMMENT 'Feed that said so; its owner names it',
    -- The name of the row: (spool_writer, spool_seq) is unique, so missing and repeated rows can be counted.
    -- A constant and a counter: compressed as such, a fraction of a byte a row.
    spool_writer LowCardinality(String),
    spool_seq UInt64 CODEC(DoubleDelta, LZ4),
    -- Answers "is this range here?" after a lost connection without reading the table.
    INDEX spool_seq_minmax spool_seq TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
-- By day: retention and roll-up drop whole days, and the table holds some 90 of them.
PARTITION BY toDate(ts_exchange)
-- A backtest reads one symbol over a time range. spool_seq keeps the writer's order among equal timestamps.
ORDER BY (symbol, ts_exchange, spool_seq)
-- Full detail for a season; older days live on only as bars.
TTL toDateTime(ts_exchange) + INTERVAL 90 DAY DELETE
-- Window: without it a plain MergeTree ignores dedup tokens; it counts parts, so 10000 outlives long outages.
-- Whole parts: an expired day is unlinked, never rewritten row by row.
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;
