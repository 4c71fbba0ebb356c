-- One-second bars of market_data, for years: what stays when the full detail is dropped. Made by `spool-loader rollup`, a day at a time, each
-- day anew and whole, so that retries and late rows change nothing but the result (docs/rollups.md).

-- statement: the bars
-- derived: rollup makes them out of market_data
CREATE TABLE IF NOT EXISTS market_bars_1s
(
    ts DateTime('UTC') CODEC(DoubleDelta, LZ4) COMMENT 'Start of the second, by ts_exchange',
    symbol LowCardinality(String),
    source LowCardinality(String),
    -- Of rows that are no trades and have both sides; null in a second without one.
    mid_open Nullable(Float64) COMMENT 'Middle of best bid and ask; null without a quote in the second',
    mid_high Nullable(Float64),
    mid_low Nullable(Float64),
    mid_close Nullable(Float64),
    -- Of trades.
    last_open Nullable(Float64) COMMENT 'Price of trades; null without a trade in the second',
    last_high Nullable(Float64),
    last_low Nullable(Float64),
    last_close Nullable(Float64),
    volume Float64 COMMENT 'Sum of traded quantities',
    buy_volume Float64 COMMENT 'Of it, where the taker bought',
    sell_volume Float64 COMMENT 'Of it, where the taker sold',
    notional Float64 COMMENT 'Sum of quantity times price; notional / volume is the VWAP',
    spread_avg Nullable(Float64) COMMENT 'Ask less bid: mean over the quotes, not over time',
    spread_min Nullable(Float64),
    spread_max Nullable(Float64),
    rows UInt64 COMMENT 'Rows of market_data in the second; their sum over a day is what the day had',
    quotes UInt64 COMMENT 'Rows that are no trades and have both sides',
    trades UInt64
)
ENGINE = MergeTree
-- By day: a day is made anew by replacing its partition, at one moment.
PARTITION BY toDate(ts)
ORDER BY (symbol, source, ts)
TTL ts + INTERVAL 5 YEAR DELETE
SETTINGS ttl_only_drop_parts = 1;

-- statement: which days have bars, and of which rows; the last entry of a day counts
-- derived: rollup and retain keep it
CREATE TABLE IF NOT EXISTS market_bars_days
(
    day Date,
    at DateTime64(6, 'UTC'),
    state Enum8('rolled' = 1, 'dropped' = 2) COMMENT 'dropped: retain has dropped the rows; the bars stay',
    raw_rows UInt64,
    raw_names UInt64 COMMENT 'groupBitXor(cityHash64(spool_writer, spool_seq)) of them',
    bars UInt64
)
ENGINE = MergeTree
ORDER BY (day, at);

-- statement: what a bar is; also for days that have none yet: SELECT * FROM market_bars_1s_of(day = today())
CREATE OR REPLACE VIEW market_bars_1s_of AS
SELECT
    toDateTime(ts_exchange, 'UTC') AS ts,
    symbol,
    source,
    argMin(mid, place) AS mid_open,
    max(mid) AS mid_high,
    min(mid) AS mid_low,
    argMax(mid, place) AS mid_close,
    argMin(price, place) AS last_open,
    max(price) AS last_high,
    min(price) AS last_low,
    argMax(price, place) AS last_close,
    sum(ifNull(qty, 0)) AS volume,
    sumIf(ifNull(qty, 0), aggressor = 'buy') AS buy_volume,
    sumIf(ifNull(qty, 0), aggressor = 'sell') AS sell_volume,
    sum(ifNull(qty * price, 0)) AS notional,
    avg(spread) AS spread_avg,
    min(spread) AS spread_min,
    max(spread) AS spread_max,
    count() AS rows,
    count(mid) AS quotes,
    countIf(event = 'trade') AS trades
FROM
(
    SELECT
        ts_exchange, symbol, source, event, aggressor,
        if(event = 'trade', NULL, (bid_px1 + ask_px1) / 2) AS mid,
        if(event = 'trade', NULL, ask_px1 - bid_px1) AS spread,
        if(event = 'trade', last_price, NULL) AS price,
        if(event = 'trade', last_qty, NULL) AS qty,
        -- Rows of one moment stand in the order in which they were written.
        (ts_exchange, spool_writer, spool_seq) AS place
    FROM market_data
    WHERE toDate(ts_exchange) = {day:Date}
)
GROUP BY symbol, source, ts;
