-- Which blob directory is the catalogue's: a file in it names both ids, so that no node works on
-- the directory of another catalogue, or on an empty mount point in its place. NULL until the
-- first node that starts has marked one.
CREATE TABLE catalogue (
    one_row boolean PRIMARY KEY DEFAULT true CHECK (one_row),
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    directory_id uuid
);
INSERT INTO catalogue DEFAULT VALUES;
