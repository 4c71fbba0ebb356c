-- Added later: a declaration names both files.
ALTER TABLE ticks ADD COLUMN IF NOT EXISTS venue LowCardinality(String) DEFAULT 'XNAS';
