ALTER TABLE trades MODIFY COLUMN side Enum8('buy' = 1, 'sell' = 2, 'none' = 0, 'both' = -3);
