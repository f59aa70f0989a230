-- Which files' locks are held right now, each with the digits of the digest that its key is made of. A
-- reaper has locked rows of condemned_files and then looks here for whose files somebody is at: who takes
-- a file's lock looks at its row then, so that one of the two sees the other.
CREATE VIEW held_file_locks AS
    SELECT k.kind, 'sha256:' || lpad(to_hex(l.objid::bigint), 8, '0') AS digest_start
      FROM pg_locks l
      JOIN unnest(ARRAY['layer', 'fsmeta', 'vmdk', 'manifest']) AS k (kind)
        ON l.classid::bigint = file_lock_class(k.kind)
     WHERE l.locktype = 'advisory' AND l.objsubid = 2
       AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database());

-- What the node was made for. NULL: for the schema before this one, and its pulls do not look at rows: as
-- long as such a node stands here (which one that was killed does for a week), reapers take the files'
-- locks as well.
ALTER TABLE nodes ADD COLUMN schema_version integer;
