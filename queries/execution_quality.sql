-- How well each strategy was filled: fill ratio, and slippage against the mid that was known when it decided.
--
-- from, to: orders whose ts_intent lies in [from, to). Fills are counted whenever they came.
--
-- slippage_bp    sum over the fills of side * (price - arrival mid) * quantity, over the sum of arrival mid * quantity; in basis points, positive is
--                a cost. The arrival mid is that of the last quote with ts_local <= ts_intent: what the strategy can have known, and not what the
--                exchange knew. Fills without a quote before the intent take no part; without_mid counts their orders.
-- cost_bp        fees and tax over the traded value; what was not reported counts as nothing.
WITH
    placed AS
    (
        SELECT
            client_order_id, any(strategy) AS strategy, any(symbol) AS symbol, any(side) AS side, any(qty) AS qty, min(ts_intent) AS intent,
            argMax(status, spool_seq) AS last
        FROM orders
        WHERE ts_intent >= {from:DateTime64(9, 'UTC')} AND ts_intent < {to:DateTime64(9, 'UTC')}
        GROUP BY client_order_id
    ),
    filled AS
    (
        SELECT
            client_order_id, sum(fill_qty) AS qty, sum(toFloat64(fill_qty) * toFloat64(fill_price)) AS value,
            sum(toFloat64(ifNull(fees, 0)) + toFloat64(ifNull(tax, 0))) AS costs
        FROM fills
        WHERE client_order_id IN (SELECT client_order_id FROM placed)
        GROUP BY client_order_id
    ),
    quotes AS
    (
        SELECT symbol, ts_local, assumeNotNull(bid_px1 + ask_px1) / 2 AS mid
        FROM market_data
        WHERE event != 'trade' AND bid_px1 IS NOT NULL AND ask_px1 IS NOT NULL
            AND ts_exchange >= {from:DateTime64(9, 'UTC')} - INTERVAL 1 HOUR AND ts_exchange < {to:DateTime64(9, 'UTC')} + INTERVAL 1 HOUR
    )
SELECT
    o.strategy AS strategy,
    count() AS orders,
    countIf(o.last = 'rejected') AS rejected,
    countIf(o.last = 'filled') AS filled_whole,
    sum(toFloat64(ifNull(f.qty, 0)) / toFloat64(o.qty)) / nullIf(countIf(o.last != 'rejected'), 0) AS fill_ratio,
    sum(ifNull(f.value, 0)) AS traded_value,
    1e4 * sum(if(o.side = 'buy', 1, -1) * (f.value - toFloat64(f.qty) * q.mid)) / nullIf(sum(toFloat64(f.qty) * q.mid), 0) AS slippage_bp,
    1e4 * sum(f.costs) / nullIf(sum(f.value), 0) AS cost_bp,
    countIf(f.qty IS NOT NULL AND q.mid IS NULL) AS without_mid
FROM placed AS o
LEFT JOIN filled AS f ON f.client_order_id = o.client_order_id
ASOF LEFT JOIN quotes AS q ON q.symbol = o.symbol AND q.ts_local <= o.intent
GROUP BY strategy
ORDER BY strategy
SETTINGS join_use_nulls = 1
