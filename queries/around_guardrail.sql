-- What happened before and after each guardrail transition.
--
-- from, to: transitions in [from, to); seconds: of the time before and after each. Times of decisions are ts, of orders ts_intent, of fills ts_local.
WITH
    (
        SELECT groupArray(toUnixTimestamp64Nano(ts)) FROM guardrail_transitions
        WHERE ts >= {from:DateTime64(9, 'UTC')} AND ts < {to:DateTime64(9, 'UTC')}
    ) AS transitions,
    toInt64({seconds:UInt32}) * 1000000000 AS span,
    near AS
    (
        SELECT
            arrayJoin(arrayFilter(t -> at >= t - span AND at < t + span, transitions)) AS transition, at >= transition AS is_after, kind, value
        FROM
        (
            SELECT toUnixTimestamp64Nano(ts) AS at, if(decision = 'allow', 'allowed', 'refused') AS kind, 0. AS value FROM risk_decisions
            WHERE ts >= {from:DateTime64(9, 'UTC')} - toIntervalSecond({seconds:UInt32})
                AND ts < {to:DateTime64(9, 'UTC')} + toIntervalSecond({seconds:UInt32})
            UNION ALL
            SELECT toUnixTimestamp64Nano(min(ts_intent)) AS at, 'order' AS kind, 0. AS value FROM orders
            WHERE ts_intent >= {from:DateTime64(9, 'UTC')} - toIntervalSecond({seconds:UInt32})
                AND ts_intent < {to:DateTime64(9, 'UTC')} + toIntervalSecond({seconds:UInt32})
            GROUP BY client_order_id
            UNION ALL
            SELECT toUnixTimestamp64Nano(ts_local) AS at, 'fill' AS kind, toFloat64(fill_qty) * toFloat64(fill_price) AS value FROM fills
            WHERE ts_exchange >= {from:DateTime64(9, 'UTC')} - toIntervalSecond({seconds:UInt32}) - INTERVAL 1 HOUR
                AND ts_exchange < {to:DateTime64(9, 'UTC')} + toIntervalSecond({seconds:UInt32}) + INTERVAL 1 HOUR
        )
    ),
    counted AS
    (
        SELECT
            transition,
            countIf(kind = 'order' AND NOT is_after) AS orders_before, countIf(kind = 'order' AND is_after) AS orders_after,
            countIf(kind = 'allowed' AND NOT is_after) AS allowed_before, countIf(kind = 'allowed' AND is_after) AS allowed_after,
            countIf(kind = 'refused' AND NOT is_after) AS refused_before, countIf(kind = 'refused' AND is_after) AS refused_after,
            countIf(kind = 'fill' AND NOT is_after) AS fills_before, countIf(kind = 'fill' AND is_after) AS fills_after,
            sumIf(value, kind = 'fill' AND NOT is_after) AS value_before, sumIf(value, kind = 'fill' AND is_after) AS value_after
        FROM near
        GROUP BY transition
    )
SELECT
    g.ts AS ts, g.prev_mode AS prev_mode, g.next_mode AS next_mode, g.trigger_metric AS trigger_metric, g.value AS value,
    c.orders_before AS orders_before, c.orders_after AS orders_after, c.allowed_before AS allowed_before, c.allowed_after AS allowed_after,
    c.refused_before AS refused_before, c.refused_after AS refused_after, c.fills_before AS fills_before, c.fills_after AS fills_after,
    c.value_before AS value_before, c.value_after AS value_after
FROM
(
    SELECT * FROM guardrail_transitions
    WHERE ts >= {from:DateTime64(9, 'UTC')} AND ts < {to:DateTime64(9, 'UTC')}
) AS g
LEFT JOIN counted AS c ON c.transition = toUnixTimestamp64Nano(g.ts)
ORDER BY ts, g.spool_seq
