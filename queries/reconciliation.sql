-- Do the fills of the day explain the positions at its end? One line for each strategy and symbol; those that differ first.
--
-- from, to: the day. The last snapshot before to must be the last one before from plus the fills that were reported in between (ts_local).
-- A missing snapshot before from counts as flat.
WITH
    opening AS
    (
        SELECT strategy, symbol, argMax(position_qty, (ts, spool_seq)) AS qty, max(ts) AS at
        FROM positions_intraday
        WHERE ts < {from:DateTime64(9, 'UTC')}
        GROUP BY strategy, symbol
    ),
    closing AS
    (
        SELECT strategy, symbol, argMax(position_qty, (ts, spool_seq)) AS qty, argMax(fees_accum, (ts, spool_seq)) AS fees, max(ts) AS at
        FROM positions_intraday
        WHERE ts >= {from:DateTime64(9, 'UTC')} AND ts < {to:DateTime64(9, 'UTC')}
        GROUP BY strategy, symbol
    ),
    traded AS
    (
        SELECT
            f.strategy AS strategy, f.symbol AS symbol, count() AS fills, sum(if(f.side = 'buy', f.fill_qty, -f.fill_qty)) AS qty,
            sum(ifNull(f.fees, toDecimal128(0, 10)) + ifNull(f.tax, toDecimal128(0, 10))) AS fees
        FROM fills AS f
        LEFT JOIN opening AS o ON o.strategy = f.strategy AND o.symbol = f.symbol
        LEFT JOIN closing AS c ON c.strategy = f.strategy AND c.symbol = f.symbol
        WHERE f.ts_exchange >= {from:DateTime64(9, 'UTC')} - INTERVAL 1 DAY AND f.ts_exchange < {to:DateTime64(9, 'UTC')}
            AND f.ts_local < {to:DateTime64(9, 'UTC')} AND (c.at IS NULL OR f.ts_local <= c.at)
            AND f.ts_local > ifNull(o.at, {from:DateTime64(9, 'UTC')} - INTERVAL 1 NANOSECOND)
        GROUP BY strategy, symbol
    )
SELECT
    k.strategy AS strategy, k.symbol AS symbol, ifNull(o.qty, toDecimal128(0, 10)) AS opened, ifNull(t.qty, toDecimal128(0, 10)) AS bought_less_sold,
    c.qty AS closed, ifNull(c.qty, toDecimal128(0, 10)) - opened - bought_less_sold AS unexplained, ifNull(t.fills, 0) AS fills,
    ifNull(t.fees, toDecimal128(0, 10)) AS fees_of_fills, c.fees AS fees_accum,
    if(unexplained = 0 AND c.qty IS NOT NULL, 'ok', if(c.qty IS NULL, 'no snapshot', 'DIFFERS')) AS result
FROM
(
    SELECT strategy, symbol FROM closing UNION DISTINCT SELECT strategy, symbol FROM traded UNION DISTINCT
    SELECT strategy, symbol FROM opening WHERE qty != 0
) AS k
LEFT JOIN opening AS o ON o.strategy = k.strategy AND o.symbol = k.symbol
LEFT JOIN closing AS c ON c.strategy = k.strategy AND c.symbol = k.symbol
LEFT JOIN traded AS t ON t.strategy = k.strategy AND t.symbol = k.symbol
ORDER BY result = 'ok', strategy, symbol
SETTINGS join_use_nulls = 1
