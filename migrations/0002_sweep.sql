-- What nodes do in turn (the hourly sweep): who begins it says so here, and the others leave
-- it until it is due again.
CREATE TABLE chores (
    name text PRIMARY KEY,
    begun_at timestamptz NOT NULL
);

-- A layer file that the sweep found without a row: nobody knows what should be in it, so no
-- pull rescues it.
ALTER TABLE condemned_files
    DROP CONSTRAINT condemned_files_check,
    DROP CONSTRAINT condemned_files_check1,
    ADD CHECK (kind = 'layer' OR erofs_digest IS NULL),
    ADD CHECK ((erofs_digest IS NULL) = (tar_size_bytes IS NULL)),
    ADD CHECK (erofs_digest IS NULL OR size_bytes IS NOT NULL);
