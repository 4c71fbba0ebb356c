-- statement: numbers
ALTER TABLE trades MODIFY COLUMN px Float64, MODIFY COLUMN qty Int64, MODIFY COLUMN fee Decimal(38, 10), MODIFY COLUMN small Int16, MODIFY COLUMN levels Array(UInt32);
-- statement: names that repeat
ALTER TABLE trades MODIFY COLUMN venue LowCardinality(String);
