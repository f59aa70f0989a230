-- Locks on files are advisory locks (class, key): the kind, and 32 bits of the digest. Two
-- files that share them only wait for each other. The class is apart from what others may
-- lock in the same database; migrations and removals use the one-argument form.
-- fsmeta and vmdk of a manifest come and go under one lock.
CREATE FUNCTION file_lock_class(kind text) RETURNS integer
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN 444458752 + CASE kind WHEN 'layer' THEN 0 WHEN 'fsmeta' THEN 1 WHEN 'vmdk' THEN 1
                                 WHEN 'manifest' THEN 3 END;

CREATE FUNCTION file_lock_key(digest text) RETURNS integer
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN ('x' || substr(digest, 8, 8))::bit(32)::integer;
