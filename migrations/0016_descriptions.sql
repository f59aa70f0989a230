-- A description (kind 'manifest') belongs to a reference, which may be cached for several platforms:
-- it is condemned when one of them goes, and when a pull is about to write it. Whoever reaps it looks,
-- under its lock, whether the reference is cached still: then it is seen that the file describes an
-- image that is here, else it is unlinked.
ALTER TABLE condemned_files ADD COLUMN reference text CHECK (reference IS NULL OR kind = 'manifest');
