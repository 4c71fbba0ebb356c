-- Equity, P&L and exposure of each account through the day.
--
-- from, to: [from, to) of the snapshots' times; step: seconds of an interval. Each line is the last snapshot of its interval. Exposure is summed over the
-- rows of strategies; where an account has only rows of its own (strategy is empty), over those.
SELECT
    account_id, at, equity, cash, day_pnl, risk_mode, gross_exposure, net_exposure, realized_pnl, unrealized_pnl, fees
FROM
(
    SELECT
        account_id, toStartOfInterval(ts, toIntervalSecond({step:UInt32})) AS at,
        argMax(equity, (ts, spool_seq)) AS equity, argMax(cash, (ts, spool_seq)) AS cash, argMax(day_pnl, (ts, spool_seq)) AS day_pnl,
        argMax(risk_mode, (ts, spool_seq)) AS risk_mode
    FROM account_state
    WHERE ts >= {from:DateTime64(9, 'UTC')} AND ts < {to:DateTime64(9, 'UTC')}
    GROUP BY account_id, at
) AS a
LEFT JOIN
(
    SELECT
        account_id, at, sumIf(gross, counts) AS gross_exposure, sumIf(net, counts) AS net_exposure, sumIf(realized, counts) AS realized_pnl,
        sumIf(unrealized, counts) AS unrealized_pnl, sumIf(paid, counts) AS fees
    FROM
    (
        SELECT
            account_id, at, gross, net, realized, unrealized, paid,
            strategy != '' OR max(strategy != '') OVER (PARTITION BY account_id, at) = 0 AS counts
        FROM
        (
            -- The tuple, because argMax passes over nulls, and would take an older snapshot's value for the last one's.
            SELECT
                account_id, symbol, strategy, toStartOfInterval(ts, toIntervalSecond({step:UInt32})) AS at,
                argMax((gross_exposure, net_exposure, realized_pnl, unrealized_pnl, fees_accum), (ts, spool_seq)) AS last,
                last.1 AS gross, last.2 AS net, last.3 AS realized, last.4 AS unrealized, last.5 AS paid
            FROM positions_intraday
            WHERE ts >= {from:DateTime64(9, 'UTC')} AND ts < {to:DateTime64(9, 'UTC')}
            GROUP BY account_id, symbol, strategy, at
        )
    )
    GROUP BY account_id, at
) AS p USING (account_id, at)
ORDER BY account_id, at
SETTINGS join_use_nulls = 1
