-- Nodes keep what an image is made of by its manifest's digest. One that is pulled again after
-- its removal may have files of other sizes: removals are logged, by the digest.
CREATE FUNCTION log_manifests_removed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO change_log (key) SELECT digest FROM removed;
    RETURN NULL;
END $$;
CREATE TRIGGER log_deleted AFTER DELETE ON manifests REFERENCING OLD TABLE AS removed
    FOR EACH STATEMENT EXECUTE FUNCTION log_manifests_removed();
