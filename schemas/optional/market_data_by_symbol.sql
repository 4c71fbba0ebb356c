-- Moves market_data to partitions by day and hot symbol, while writer and loader run: for symbols that bring so much data that one partition a day has
-- parts which take too long to merge, or that are to be dropped earlier than the rest.
--
-- Not applied as it lies here: copy it to schemas/ with the next free number (as NNNN_market_data_by_symbol.sql), write your symbols into the PARTITION BY below, and look at
-- `spool-loader migrate plan`. Give it all columns that later files have added. docs/migrations.md, "Hot symbols", says what happens
-- at each step and why nothing is lost or doubled.

-- statement: the new layout
-- derived: takes the place of market_data
CREATE TABLE IF NOT EXISTS market_data_by_symbol
(
    ts_exchange DateTime64(9, 'UTC') CODEC(DoubleDelta, LZ4) COMMENT 'Event time by the exchange',
    ts_local DateTime64(9, 'UTC') CODEC(DoubleDelta, LZ4) COMMENT 'Arrival time at our host; ts_local - ts_exchange is feed latency plus clock error',
    symbol LowCardinality(String),
    event Enum8('quote' = 1, 'trade' = 2, 'sample' = 3, 'snapshot' = 4) COMMENT 'Why the row exists: best changed, trade, periodic sample, book rebuilt',
    bid_px1 Nullable(Float64) COMMENT 'Best bid; null before the first quote',
    bid_sz1 Nullable(Float64),
    ask_px1 Nullable(Float64) COMMENT 'Best ask; null before the first quote',
    ask_sz1 Nullable(Float64),
    bid_px Array(Float64) COMMENT 'Top-5 bid prices, best first; empty when depth is not known',
    bid_sz Array(Float64),
    ask_px Array(Float64) COMMENT 'Top-5 ask prices, best first; empty when depth is not known',
    ask_sz Array(Float64),
    last_price Nullable(Float64) COMMENT 'Last trade seen; in a trade row the trade itself; null before the first trade',
    last_qty Nullable(Float64),
    aggressor Enum8('unknown' = 0, 'buy' = 1, 'sell' = 2) DEFAULT 'unknown' COMMENT 'Side of the taker, for trades',
    source LowCardinality(String) COMMENT 'Feed that said so; its owner names it',
    spool_writer LowCardinality(String),
    spool_seq UInt64 CODEC(DoubleDelta, LZ4),
    INDEX spool_seq_minmax spool_seq TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY (toDate(ts_exchange), if(symbol IN ('BTCUSDT', 'ETHUSDT'), toString(symbol), ''))
ORDER BY (symbol, ts_exchange, spool_seq)
TTL toDateTime(ts_exchange) + INTERVAL 97 DAY DELETE
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;

-- statement: all that is there, hour by hour, while rows go on coming into the old layout
-- for each: SELECT DISTINCT toString(toStartOfHour(ts_exchange)) AS hour FROM market_data ORDER BY hour
INSERT INTO market_data_by_symbol
SELECT * FROM market_data
WHERE ts_exchange >= toDateTime64('{each}', 9, 'UTC') AND ts_exchange < toDateTime64('{each}', 9, 'UTC') + INTERVAL 1 HOUR
    AND (spool_writer, spool_seq) NOT IN
    (
        SELECT spool_writer, spool_seq FROM market_data_by_symbol
        WHERE ts_exchange >= toDateTime64('{each}', 9, 'UTC') AND ts_exchange < toDateTime64('{each}', 9, 'UTC') + INTERVAL 1 HOUR
    );

-- statement: the old layout steps aside; the loader waits from here on, and the spool grows
-- done if: SELECT count() FROM system.tables WHERE database = currentDatabase() AND name = 'market_data_by_day'
RENAME TABLE market_data TO market_data_by_day;

-- statement: rows that came meanwhile
-- needs: SELECT count() = 0 FROM system.processes WHERE startsWith(query, 'INSERT INTO `market_data` ')
-- for each: SELECT toString(hour) FROM
--     (
--         SELECT toStartOfHour(ts_exchange) AS hour, 1 AS old, 0 AS new FROM market_data_by_day
--         UNION ALL SELECT toStartOfHour(ts_exchange), 0, 1 FROM market_data_by_symbol
--     )
--     GROUP BY hour HAVING sum(old) > sum(new) ORDER BY hour
INSERT INTO market_data_by_symbol
SELECT * FROM market_data_by_day
WHERE ts_exchange >= toDateTime64('{each}', 9, 'UTC') AND ts_exchange < toDateTime64('{each}', 9, 'UTC') + INTERVAL 1 HOUR
    AND (spool_writer, spool_seq) NOT IN
    (
        SELECT spool_writer, spool_seq FROM market_data_by_symbol
        WHERE ts_exchange >= toDateTime64('{each}', 9, 'UTC') AND ts_exchange < toDateTime64('{each}', 9, 'UTC') + INTERVAL 1 HOUR
    );

-- statement: the new layout takes the name; the loader goes on by itself
-- needs: SELECT count() = 0 FROM
--     (
--         SELECT hour FROM
--         (
--             SELECT toStartOfHour(ts_exchange) AS hour, 1 AS old, cityHash64(spool_writer, spool_seq) AS name FROM market_data_by_day
--             UNION ALL SELECT toStartOfHour(ts_exchange), 0, cityHash64(spool_writer, spool_seq) FROM market_data_by_symbol
--         )
--         GROUP BY hour HAVING sum(old) > 0 AND (sum(old) * 2 != count() OR groupBitXor(name) != 0)
--     )
-- done if: SELECT count() FROM system.tables WHERE database = currentDatabase() AND name = 'market_data'
RENAME TABLE market_data_by_symbol TO market_data;

-- statement: the old layout is deleted
DROP TABLE IF EXISTS market_data_by_day;
