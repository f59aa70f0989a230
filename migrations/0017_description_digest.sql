-- The name under manifests/ of the file that says what a reference leads to: the hash of the reference.
-- References are ASCII without a backslash, so the cast takes their bytes as they are; unlike convert_to()
-- it may be in an index, by which sweep and fsck find whose a file is.
CREATE FUNCTION description_digest(reference text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN 'sha256:' || encode(sha256(reference::bytea), 'hex');
CREATE INDEX image_refs_description ON image_refs (description_digest(reference));
