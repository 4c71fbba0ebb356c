-- statement: a quantity may be unknown
ALTER TABLE trades MODIFY COLUMN qty Nullable(Int64);
-- statement: who pays
ALTER TABLE trades ADD COLUMN IF NOT EXISTS payer Nullable(String) AFTER fee;
-- statement: renamed once more
ALTER TABLE trades RENAME COLUMN IF EXISTS market TO exchange;
