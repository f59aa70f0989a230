-- Removals of many images at once.

-- PostgreSQL's own foreign keys ask once for each row that goes whether something still
-- points at it: two thirds of the time of a large prune. These ask once for each statement.
-- Otherwise they are what REFERENCES is: a row locks the one that it points at (FOR KEY
-- SHARE), a row that is still pointed at is not deleted, and both fail with the same code.
ALTER TABLE manifests DROP CONSTRAINT manifests_config_digest_fkey;
ALTER TABLE manifest_layers DROP CONSTRAINT manifest_layers_manifest_digest_fkey;
ALTER TABLE manifest_layers DROP CONSTRAINT manifest_layers_diff_id_fkey;
ALTER TABLE image_refs DROP CONSTRAINT image_refs_manifest_digest_os_architecture_variant_fkey;
ALTER TABLE sandboxes DROP CONSTRAINT sandboxes_held_digest_fkey;
ALTER TABLE snapshots DROP CONSTRAINT snapshots_held_digest_fkey;
ALTER TABLE pull_layers DROP CONSTRAINT pull_layers_held_diff_id_fkey;
ALTER TABLE manifests DROP CONSTRAINT manifests_digest_os_architecture_variant_key;

CREATE FUNCTION lacks_parent(child text, parent text, key text) RETURNS void
    LANGUAGE plpgsql AS $$
BEGIN
    RAISE foreign_key_violation USING
        MESSAGE = format('%s points at %s %s, which is not there', child, parent, key);
END $$;

CREATE FUNCTION config_must_exist() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM configs WHERE digest = NEW.config_digest FOR KEY SHARE;
    IF NOT FOUND THEN
        PERFORM lacks_parent(TG_TABLE_NAME, 'configs', NEW.config_digest);
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION manifest_must_exist() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM manifests WHERE digest = NEW.manifest_digest FOR KEY SHARE;
    IF NOT FOUND THEN
        PERFORM lacks_parent(TG_TABLE_NAME, 'manifests', NEW.manifest_digest);
    END IF;
    RETURN NULL;
END $$;

-- Of a reference: its platform is its manifest's own.
CREATE FUNCTION manifest_of_platform_must_exist() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM manifests
      WHERE digest = NEW.manifest_digest AND os = NEW.os AND architecture = NEW.architecture
        AND variant = NEW.variant
        FOR KEY SHARE;
    IF NOT FOUND THEN
        PERFORM lacks_parent(TG_TABLE_NAME, 'manifests', NEW.manifest_digest);
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION held_manifest_must_exist() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM manifests WHERE digest = NEW.held_digest FOR KEY SHARE;
    IF NOT FOUND THEN
        PERFORM lacks_parent(TG_TABLE_NAME, 'manifests', NEW.held_digest);
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION layer_must_exist() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM layers WHERE diff_id = NEW.diff_id FOR KEY SHARE;
    IF NOT FOUND THEN
        PERFORM lacks_parent(TG_TABLE_NAME, 'layers', NEW.diff_id);
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER config_must_exist
    AFTER INSERT OR UPDATE OF config_digest ON manifests
    FOR EACH ROW EXECUTE FUNCTION config_must_exist();
CREATE TRIGGER manifest_must_exist
    AFTER INSERT OR UPDATE OF manifest_digest ON manifest_layers
    FOR EACH ROW EXECUTE FUNCTION manifest_must_exist();
CREATE TRIGGER layer_must_exist
    AFTER INSERT OR UPDATE OF diff_id ON manifest_layers
    FOR EACH ROW EXECUTE FUNCTION layer_must_exist();
CREATE TRIGGER manifest_must_exist
    AFTER INSERT OR UPDATE OF manifest_digest, os, architecture, variant ON image_refs
    FOR EACH ROW EXECUTE FUNCTION manifest_of_platform_must_exist();
CREATE TRIGGER held_manifest_must_exist
    AFTER INSERT OR UPDATE OF held_digest ON sandboxes
    FOR EACH ROW WHEN (NEW.held_digest IS NOT NULL) EXECUTE FUNCTION held_manifest_must_exist();
CREATE TRIGGER held_manifest_must_exist
    AFTER INSERT OR UPDATE OF held_digest ON snapshots
    FOR EACH ROW WHEN (NEW.held_digest IS NOT NULL) EXECUTE FUNCTION held_manifest_must_exist();
CREATE TRIGGER held_layer_must_exist
    AFTER INSERT OR UPDATE OF held_diff_id ON pull_layers
    FOR EACH ROW WHEN (NEW.held_diff_id IS NOT NULL) EXECUTE FUNCTION layer_must_exist();

-- Arguments: the column that is pointed at, then a table and its column for each that points.
-- EXECUTE plans anew: the same statement removes one row, or half of them.
CREATE FUNCTION must_not_be_pointed_at() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    pointed_at boolean;
BEGIN
    FOR i IN 1 .. TG_NARGS - 1 BY 2 LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM gone JOIN %I c ON c.%I = gone.%I)',
                       TG_ARGV[i], TG_ARGV[i + 1], TG_ARGV[0]) INTO pointed_at;
        IF pointed_at THEN
            RAISE foreign_key_violation USING
                MESSAGE = format('%s of %s are still pointed at by %s', TG_ARGV[0], TG_TABLE_NAME,
                                 TG_ARGV[i]);
        END IF;
    END LOOP;
    RETURN NULL;
END $$;

CREATE FUNCTION layers_of_manifests_go_too() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE 'DELETE FROM manifest_layers l USING gone WHERE l.manifest_digest = gone.digest';
    RETURN NULL;
END $$;

CREATE TRIGGER layers_of_manifests_go_too
    AFTER DELETE ON manifests REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION layers_of_manifests_go_too();
CREATE TRIGGER must_not_be_pointed_at
    AFTER DELETE ON manifests REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION must_not_be_pointed_at('digest',
        'image_refs', 'manifest_digest', 'sandboxes', 'held_digest', 'snapshots', 'held_digest');
CREATE TRIGGER must_not_be_pointed_at
    AFTER DELETE ON layers REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION must_not_be_pointed_at('diff_id',
        'manifest_layers', 'diff_id', 'pull_layers', 'held_diff_id');
CREATE TRIGGER must_not_be_pointed_at
    AFTER DELETE ON configs REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION must_not_be_pointed_at('digest',
        'manifests', 'config_digest');

-- What is pointed at keeps its key.
CREATE FUNCTION key_must_stay() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE foreign_key_violation USING MESSAGE = format('the keys of %s do not change', TG_TABLE_NAME);
END $$;
CREATE TRIGGER key_must_stay BEFORE UPDATE OF digest ON configs
    FOR EACH STATEMENT EXECUTE FUNCTION key_must_stay();
CREATE TRIGGER key_must_stay BEFORE UPDATE OF digest, os, architecture, variant ON manifests
    FOR EACH STATEMENT EXECUTE FUNCTION key_must_stay();
CREATE TRIGGER key_must_stay BEFORE UPDATE OF diff_id ON layers
    FOR EACH STATEMENT EXECUTE FUNCTION key_must_stay();

-- What the files take on the disk, as measured when they were published; NULL: not measured.
-- keep_bytes and dry runs count with it.
ALTER TABLE layers ADD COLUMN allocated_bytes bigint CHECK (allocated_bytes >= 0);
ALTER TABLE manifests ADD COLUMN allocated_bytes bigint CHECK (allocated_bytes >= 0); -- fsmeta and vmdk
ALTER TABLE image_refs ADD COLUMN description_allocated_bytes bigint
    CHECK (description_allocated_bytes >= 0);

-- Whose prune counts the file; NULL: nobody's.
ALTER TABLE condemned_files ADD COLUMN removal_id bigint;
-- Reapers go through the table by its key; the oldest is only asked for now and then.
DROP INDEX condemned_files_oldest;
CREATE SEQUENCE removals;

-- What reapers, on any node, unlinked for a prune: a row for each batch, so that none waits
-- for another. The prune adds them up for its report.
CREATE TABLE reaped_files (
    removal_id bigint NOT NULL,
    layers integer NOT NULL,
    fsmeta integer NOT NULL,
    vmdk integer NOT NULL,
    descriptions integer NOT NULL,
    bytes bigint NOT NULL, -- that were allocated to them
    reaped_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX reaped_files_by_removal ON reaped_files (removal_id);
