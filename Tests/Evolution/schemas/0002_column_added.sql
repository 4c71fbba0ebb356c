ALTER TABLE trades ADD COLUMN IF NOT EXISTS session LowCardinality(String) DEFAULT 'day' AFTER venue;
