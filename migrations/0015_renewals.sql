-- A renewal changes nothing that an index has: PostgreSQL writes the row alone, into its own page where
-- that has room (a heap-only tuple), a quarter of what it wrote to its log before, and no index grows.
-- What ran out is found by reading the table, twice a minute and node.
ALTER TABLE sandboxes SET (fillfactor = 70);
DROP INDEX sandboxes_by_expiry;
