-- What became of the risk engine's decisions: intents, orders and fills behind each of them.
--
-- from, to: decisions made in [from, to). An intent with several decisions counts by its last one.
--
-- sent_nevertheless    intents that the engine did not let pass (decision is not one of allowed) and of which an order was sent: should be 0
-- allowed: the words that let an intent pass, such as ['allow', 'reduce']
WITH
    decided AS
    (
        SELECT client_order_id, last.1 AS decision, last.2 AS reason_code, last.3 AS risk_mode, last.4 AS notional
        FROM
        (
            -- The tuple, because argMax passes over nulls, and would take an older decision's value for the last one's.
            SELECT client_order_id, argMax((decision, reason_code, risk_mode, notional), (ts, spool_seq)) AS last
            FROM risk_decisions
            WHERE ts >= {from:DateTime64(9, 'UTC')} AND ts < {to:DateTime64(9, 'UTC')} AND client_order_id != ''
            GROUP BY client_order_id
        )
    ),
    placed AS
    (
        SELECT client_order_id, max(ts_send) AS sent, argMax(status, spool_seq) AS last
        FROM orders
        WHERE client_order_id IN (SELECT client_order_id FROM decided)
        GROUP BY client_order_id
    ),
    filled AS
    (
        SELECT client_order_id, sum(toFloat64(fill_qty) * toFloat64(fill_price)) AS value
        FROM fills
        WHERE client_order_id IN (SELECT client_order_id FROM decided)
        GROUP BY client_order_id
    )
SELECT
    d.decision AS decision, d.reason_code AS reason_code, d.risk_mode AS risk_mode,
    count() AS intents,
    sum(toFloat64(d.notional)) AS notional,
    countIf(o.sent IS NOT NULL) AS orders_sent,
    countIf(o.last = 'rejected') AS orders_rejected,
    countIf(f.value IS NOT NULL) AS orders_with_fills,
    sum(ifNull(f.value, 0)) AS traded_value,
    countIf(NOT has({allowed:Array(String)}, d.decision) AND o.sent IS NOT NULL) AS sent_nevertheless
FROM decided AS d
LEFT JOIN placed AS o ON o.client_order_id = d.client_order_id
LEFT JOIN filled AS f ON f.client_order_id = d.client_order_id
GROUP BY decision, reason_code, risk_mode
ORDER BY decision, reason_code, risk_mode
SETTINGS join_use_nulls = 1
