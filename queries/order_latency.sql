-- Latency of orders from the decision to the broker's answer, per strategy, in microseconds.
--
-- from, to: orders whose ts_intent lies in [from, to). Each order counts once, by the times that its rows give: an order that was never sent or never
-- answered takes no part in that step, and is counted in not_sent or not_answered.
SELECT
    strategy,
    count() AS orders,
    countIf(sent IS NULL) AS not_sent,
    countIf(sent IS NOT NULL AND acked IS NULL) AS not_answered,
    quantilesExact(0.5, 0.9, 0.99, 0.999)(intent_to_send) AS intent_to_send_us,
    quantilesExact(0.5, 0.9, 0.99, 0.999)(send_to_ack) AS send_to_ack_us,
    quantilesExact(0.5, 0.9, 0.99, 0.999)(intent_to_ack) AS intent_to_ack_us
FROM
(
    SELECT
        any(strategy) AS strategy, min(ts_intent) AS intent, min(ts_send) AS sent, min(ts_ack) AS acked,
        (toUnixTimestamp64Nano(sent) - toUnixTimestamp64Nano(intent)) / 1000 AS intent_to_send,
        (toUnixTimestamp64Nano(acked) - toUnixTimestamp64Nano(sent)) / 1000 AS send_to_ack,
        (toUnixTimestamp64Nano(acked) - toUnixTimestamp64Nano(intent)) / 1000 AS intent_to_ack
    FROM orders
    WHERE ts_intent >= {from:DateTime64(9, 'UTC')} AND ts_intent < {to:DateTime64(9, 'UTC')}
    GROUP BY client_order_id
)
GROUP BY strategy
ORDER BY strategy
