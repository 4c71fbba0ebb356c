-- `retain` drops a day of market_data after 90 days, once its bars are proved to be complete. The server's own TTL comes a week later, so that no row
-- goes before that was seen to.
ALTER TABLE market_data MODIFY TTL toDateTime(ts_exchange) + INTERVAL 97 DAY DELETE;
