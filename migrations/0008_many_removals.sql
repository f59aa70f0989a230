-- Nodes that hear of more than 10,000 keys at once forget everything rather than read each
-- (store/catalogue/changes.c): a prune of more images than half of that says so itself.
CREATE OR REPLACE FUNCTION log_images_removed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT count(*) > 5000 FROM removed) THEN
        INSERT INTO change_log (key) VALUES ('*');
        RETURN NULL;
    END IF;
    INSERT INTO change_log (key)
    SELECT DISTINCT key
      FROM removed r,
           unnest(ARRAY[r.reference, r.name || '@' || r.manifest_digest,
                        r.name || '@' || r.index_digest,
                        r.name || '@' || nullif(split_part(r.reference, '@', 2), '')]) AS key
     WHERE key IS NOT NULL;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION log_manifests_removed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT count(*) > 5000 FROM removed) THEN
        INSERT INTO change_log (key) VALUES ('*');
    ELSE
        INSERT INTO change_log (key) SELECT digest FROM removed;
    END IF;
    RETURN NULL;
END $$;

-- Joins of what goes as a whole. EXISTS would be planned for the first row that is found, which
-- never comes; a merge join would read the index with all the rows that were just deleted.
CREATE OR REPLACE FUNCTION must_not_be_pointed_at() RETURNS trigger LANGUAGE plpgsql
    SET enable_mergejoin = off AS $$
DECLARE
    pointing bigint;
BEGIN
    FOR i IN 1 .. TG_NARGS - 1 BY 2 LOOP
        EXECUTE format('WITH g AS MATERIALIZED (SELECT %1$I AS key FROM gone)'
                       ' SELECT count(*) FROM g JOIN %2$I c ON c.%3$I = g.key',
                       TG_ARGV[0], TG_ARGV[i], TG_ARGV[i + 1]) INTO pointing;
        IF pointing > 0 THEN
            RAISE foreign_key_violation USING
                MESSAGE = format('%s of %s are still pointed at by %s', TG_ARGV[0], TG_TABLE_NAME,
                                 TG_ARGV[i]);
        END IF;
    END LOOP;
    RETURN NULL;
END $$;

-- Of the old rows only the key, or they are carried through the join as they are.
CREATE OR REPLACE FUNCTION layers_of_manifests_go_too() RETURNS trigger LANGUAGE plpgsql
    SET enable_mergejoin = off AS $$
BEGIN
    EXECUTE 'WITH g AS MATERIALIZED (SELECT digest FROM gone)'
            ' DELETE FROM manifest_layers l USING g WHERE l.manifest_digest = g.digest';
    RETURN NULL;
END $$;

-- The same as before, six times as fast: counting to 64 is what took the time.
ALTER DOMAIN sha256_digest DROP CONSTRAINT sha256_digest_check;
ALTER DOMAIN sha256_digest ADD CONSTRAINT sha256_digest_check
    CHECK (length(VALUE) = 71 AND VALUE ~ '^sha256:[0-9a-f]+$') NOT VALID;
