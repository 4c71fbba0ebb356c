-- Whether market data can be trusted: gaps, crossed books, latency, and rows that the recorder gave up.
--
-- from, to: rows with ts_exchange in [from, to).
--
-- longest_gap_s     between two rows that follow each other by ts_local, and when it ended
-- back_in_time      rows whose ts_exchange is before that of the row before
-- latency_ms        ts_local - ts_exchange: feed latency and the difference of both clocks; negative if ours is behind
-- rows_lost         what the loss ledger (system_events) says of the symbol in that time, or of all symbols
WITH
    ordered AS
    (
        SELECT
            symbol, source, event, bid_px1, ask_px1, toUnixTimestamp64Nano(ts_exchange) AS exchange, toUnixTimestamp64Nano(ts_local) AS local,
            lagInFrame(local, 1, local) OVER w AS local_before, lagInFrame(exchange, 1, exchange) OVER w AS exchange_before
        FROM market_data
        WHERE ts_exchange >= {from:DateTime64(9, 'UTC')} AND ts_exchange < {to:DateTime64(9, 'UTC')}
        WINDOW w AS (PARTITION BY symbol, source ORDER BY ts_local, spool_writer, spool_seq ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)
    ),
    lost AS
    (
        SELECT symbol, sum(row_count) AS rows
        FROM system_events
        WHERE event = 'rows_dropped' AND table_name = 'market_data'
            AND range_to >= {from:DateTime64(9, 'UTC')} AND range_from < {to:DateTime64(9, 'UTC')}
        GROUP BY symbol
    )
SELECT
    m.symbol AS symbol, m.source AS source, m.rows AS rows, m.trades AS trades, m.quotes AS quotes, m.crossed AS crossed, m.one_sided AS one_sided,
    m.longest_gap_s AS longest_gap_s, m.gap_end AS gap_end, m.back_in_time AS back_in_time, m.latency_ms AS latency_ms,
    ifNull(l.rows, 0) + (SELECT sumIf(rows, symbol = '') FROM lost) AS rows_lost
FROM
(
    SELECT
        symbol, source,
        count() AS rows,
        countIf(event = 'trade') AS trades,
        countIf(event != 'trade') AS quotes,
        countIf(event != 'trade' AND bid_px1 >= ask_px1) AS crossed,
        countIf(event != 'trade' AND (bid_px1 IS NULL OR ask_px1 IS NULL)) AS one_sided,
        max(local - local_before) / 1e9 AS longest_gap_s,
        fromUnixTimestamp64Nano(argMax(local, local - local_before), 'UTC') AS gap_end,
        countIf(exchange < exchange_before) AS back_in_time,
        arrayMap(x -> x / 1e6, quantilesExact(0.5, 0.99)(local - exchange)) AS latency_ms
    FROM ordered
    GROUP BY symbol, source
) AS m
LEFT JOIN lost AS l ON l.symbol = m.symbol
ORDER BY symbol, source
SETTINGS join_use_nulls = 1
