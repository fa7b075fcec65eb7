-- it has no table chunks
DROP VIEW attributes; DROP VIEW usage; DROP VIEW files; DROP TABLE chunks;
