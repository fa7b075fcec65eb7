-- no such table: chunks
DROP VIEW attributes; DROP VIEW usage; DROP VIEW files; DROP TABLE chunks;
