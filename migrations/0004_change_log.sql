-- What nodes may have in memory and must forget: one row for each thing that changed, written
-- by triggers in the change's own transaction, so that no statement can forget it.
-- A key is a canonical reference, or `registry/repository@digest` for those who look an image up
-- by digest, or `*`: anything may have changed.
CREATE TABLE change_log (
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    key text NOT NULL
);
-- Nodes ask what became visible since their last snapshot: xid >= its xmin.
CREATE INDEX change_log_by_xid ON change_log (xid);

-- Which transactions were all over at a time: rows of theirs may go some time after.
CREATE TABLE change_marks (
    marked_at timestamptz PRIMARY KEY DEFAULT now(),
    oldest_running xid8 NOT NULL DEFAULT pg_snapshot_xmin(pg_current_snapshot())
);

-- A use is written to one row, at every start of a sandbox: a trigger for each row.
CREATE FUNCTION log_image_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO change_log (key)
    SELECT DISTINCT key
      FROM unnest(ARRAY[new.reference, new.name || '@' || new.manifest_digest,
                        new.name || '@' || new.index_digest,
                        new.name || '@' || nullif(split_part(new.reference, '@', 2), '')]) AS key
     WHERE key IS NOT NULL;
    IF tg_op = 'UPDATE' AND (old.reference, old.name, old.manifest_digest, old.index_digest)
        IS DISTINCT FROM (new.reference, new.name, new.manifest_digest, new.index_digest) THEN
        INSERT INTO change_log (key)
        SELECT DISTINCT key
          FROM unnest(ARRAY[old.reference, old.name || '@' || old.manifest_digest,
                            old.name || '@' || old.index_digest,
                            old.name || '@' || nullif(split_part(old.reference, '@', 2), '')]) AS key
         WHERE key IS NOT NULL;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER log_inserted AFTER INSERT ON image_refs
    FOR EACH ROW EXECUTE FUNCTION log_image_change();
CREATE TRIGGER log_updated AFTER UPDATE ON image_refs
    FOR EACH ROW WHEN (old.* IS DISTINCT FROM new.*) EXECUTE FUNCTION log_image_change();

-- Removals come by the thousand: one for all rows of a statement.
CREATE FUNCTION log_images_removed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO change_log (key)
    SELECT DISTINCT key
      FROM removed r,
           unnest(ARRAY[r.reference, r.name || '@' || r.manifest_digest,
                        r.name || '@' || r.index_digest,
                        r.name || '@' || nullif(split_part(r.reference, '@', 2), '')]) AS key
     WHERE key IS NOT NULL;
    RETURN NULL;
END $$;
CREATE TRIGGER log_deleted AFTER DELETE ON image_refs REFERENCING OLD TABLE AS removed
    FOR EACH STATEMENT EXECUTE FUNCTION log_images_removed();

-- What an image is made of does not change but for the rare file that was rebuilt to another
-- size by a newer converter. It may belong to many images: everything is forgotten.
CREATE FUNCTION log_any_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO change_log (key) VALUES ('*');
    RETURN NULL;
END $$;
CREATE TRIGGER log_updated AFTER UPDATE ON manifests FOR EACH ROW
    WHEN ((old.layer_count, old.size_bytes, old.fsmeta_size_bytes, old.vmdk_size_bytes)
        IS DISTINCT FROM (new.layer_count, new.size_bytes, new.fsmeta_size_bytes, new.vmdk_size_bytes))
    EXECUTE FUNCTION log_any_change();
CREATE TRIGGER log_updated AFTER UPDATE ON configs FOR EACH ROW
    WHEN (old.detail::text IS DISTINCT FROM new.detail::text)
    EXECUTE FUNCTION log_any_change();
CREATE TRIGGER log_updated AFTER UPDATE ON manifest_layers FOR EACH ROW
    WHEN (old.* IS DISTINCT FROM new.*)
    EXECUTE FUNCTION log_any_change();
CREATE TRIGGER log_updated AFTER UPDATE ON layers FOR EACH ROW
    WHEN (old.erofs_size_bytes IS DISTINCT FROM new.erofs_size_bytes)
    EXECUTE FUNCTION log_any_change();
-- For the hand that empties a table.
CREATE TRIGGER log_truncated AFTER TRUNCATE ON image_refs
    FOR EACH STATEMENT EXECUTE FUNCTION log_any_change();
