-- The catalogue: what is in the cache, who uses it, what may go.
-- Wrong states are refused here, by keys and checks; the code does not repeat them.

CREATE DOMAIN sha256_digest AS text CHECK (VALUE ~ '^sha256:[0-9a-f]{64}$');

-- One row per `larder serve` process that was seen; its heartbeat is how the others
-- notice that it is gone.
CREATE TABLE nodes (
    id uuid PRIMARY KEY,
    hostname text NOT NULL,
    version text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    heartbeat_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE configs (
    digest sha256_digest PRIMARY KEY,
    raw bytea NOT NULL,
    detail json NOT NULL -- the ImageConfigDetail of the interface
);

CREATE TABLE manifests (
    digest sha256_digest PRIMARY KEY,
    media_type text NOT NULL,
    raw bytea NOT NULL,
    config_digest sha256_digest NOT NULL REFERENCES configs,
    os text NOT NULL CHECK (os <> ''),
    architecture text NOT NULL CHECK (architecture <> ''),
    variant text NOT NULL,
    layer_count integer NOT NULL CHECK (layer_count >= 0),
    size_bytes bigint NOT NULL CHECK (size_bytes >= 0), -- the sum of its compressed layers
    fsmeta_size_bytes bigint NOT NULL CHECK (fsmeta_size_bytes > 0 AND fsmeta_size_bytes % 4096 = 0),
    fsmeta_digest sha256_digest NOT NULL,
    vmdk_size_bytes bigint NOT NULL CHECK (vmdk_size_bytes > 0),
    vmdk_digest sha256_digest NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    -- what image_refs' foreign key points at: a reference's platform is its manifest's own
    UNIQUE (digest, os, architecture, variant)
);
-- Removing a manifest asks who else names its config.
CREATE INDEX manifests_by_config ON manifests (config_digest);

CREATE TABLE layers (
    diff_id sha256_digest PRIMARY KEY,
    erofs_size_bytes bigint NOT NULL CHECK (erofs_size_bytes > 0 AND erofs_size_bytes % 4096 = 0),
    erofs_digest sha256_digest NOT NULL,
    tar_size_bytes bigint NOT NULL CHECK (tar_size_bytes >= 0),
    created_at timestamptz NOT NULL DEFAULT now()
);

-- The blob's digest, media type and size belong to the manifest that names them: two
-- manifests may reach one diff_id through different compressions.
CREATE TABLE manifest_layers (
    manifest_digest sha256_digest NOT NULL REFERENCES manifests ON DELETE CASCADE,
    position integer NOT NULL CHECK (position >= 0), -- bottom to top, from 0
    diff_id sha256_digest NOT NULL REFERENCES layers,
    blob_digest sha256_digest NOT NULL,
    media_type text NOT NULL,
    compressed_size_bytes bigint NOT NULL CHECK (compressed_size_bytes >= 0),
    PRIMARY KEY (manifest_digest, position)
);
-- Removing a layer asks which manifests still need it.
CREATE INDEX manifest_layers_by_diff_id ON manifest_layers (diff_id);

CREATE TABLE image_refs (
    reference text NOT NULL, -- canonical: registry/repository[:tag][@digest]
    os text NOT NULL,
    architecture text NOT NULL,
    variant text NOT NULL,
    name text NOT NULL,         -- registry/repository, for look-ups by digest
    index_digest sha256_digest, -- of the index it was resolved from
    manifest_digest sha256_digest NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    last_used_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (reference, os, architecture, variant),
    FOREIGN KEY (manifest_digest, os, architecture, variant)
        REFERENCES manifests (digest, os, architecture, variant)
);
-- The list's order, and its keyset page.
CREATE INDEX image_refs_newest
    ON image_refs (created_at DESC, reference, os, architecture, variant);
-- Look-ups `name@digest`, and removing a manifest.
CREATE INDEX image_refs_by_manifest ON image_refs (manifest_digest);
CREATE INDEX image_refs_by_index ON image_refs (index_digest) WHERE index_digest IS NOT NULL;
-- keep_bytes removes the least recently used first.
CREATE INDEX image_refs_by_last_use ON image_refs (last_used_at);

-- held_digest is what holds the image; only a forced removal clears it before the row goes.
CREATE TABLE sandboxes (
    id text PRIMARY KEY CHECK (length(id) BETWEEN 1 AND 255),
    host text NOT NULL CHECK (length(host) BETWEEN 1 AND 255),
    rootfs json NOT NULL, -- the rootfs source as it was given
    reference text,       -- canonical; of an oci source
    manifest_digest sha256_digest,
    held_digest sha256_digest REFERENCES manifests CHECK (held_digest = manifest_digest),
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    CHECK (rootfs ->> 'type' IN ('oci', 'bind', 'disk')),
    CHECK ((rootfs ->> 'type' = 'oci') = (reference IS NOT NULL)),
    CHECK ((reference IS NULL) = (manifest_digest IS NULL))
);
CREATE INDEX sandboxes_by_host ON sandboxes (host, id);
CREATE INDEX sandboxes_by_held_digest ON sandboxes (held_digest) WHERE held_digest IS NOT NULL;
CREATE INDEX sandboxes_by_reference ON sandboxes (reference, id) WHERE reference IS NOT NULL;
CREATE INDEX sandboxes_by_expiry ON sandboxes (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE snapshots (
    id text PRIMARY KEY CHECK (length(id) BETWEEN 1 AND 255),
    manifest_digest sha256_digest NOT NULL,
    held_digest sha256_digest REFERENCES manifests CHECK (held_digest = manifest_digest),
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX snapshots_by_held_digest ON snapshots (held_digest) WHERE held_digest IS NOT NULL;
CREATE INDEX snapshots_by_manifest ON snapshots (manifest_digest, id);

-- References, or globs of them, that no prune takes and no delete takes without force.
CREATE TABLE pins (
    pattern text PRIMARY KEY CHECK (length(pattern) BETWEEN 1 AND 1024),
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE pulls (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    reference text NOT NULL, -- canonical
    platform text NOT NULL,  -- os/architecture[/variant]
    policy text NOT NULL CHECK (policy IN ('if_missing', 'always', 'never')),
    force boolean NOT NULL,
    state text NOT NULL DEFAULT 'queued' CHECK (state IN
        ('queued', 'resolving', 'fetching', 'composing', 'done', 'failed', 'cancelled')),
    node_id uuid REFERENCES nodes ON DELETE SET NULL, -- who runs it
    cancel_requested boolean NOT NULL DEFAULT false,
    attempts integer NOT NULL DEFAULT 0, -- how often a node took it up
    manifest_digest sha256_digest,       -- once resolved; of the answer when done
    error json,                          -- {"code", "detail", …} when failed
    created_at timestamptz NOT NULL DEFAULT now(),
    started_at timestamptz,
    finished_at timestamptz,
    CHECK ((state IN ('done', 'failed', 'cancelled')) = (finished_at IS NOT NULL)),
    CHECK ((state = 'failed') = (error IS NOT NULL)),
    CHECK (state <> 'done' OR manifest_digest IS NOT NULL)
);
-- The same reference and platform pulled twice at once is one pull. Nobody joins one
-- that is being cancelled, nor one that only looks ("never") and may not fetch.
CREATE UNIQUE INDEX pulls_one_at_a_time ON pulls (reference, platform)
    WHERE finished_at IS NULL AND NOT cancel_requested AND policy <> 'never';
CREATE INDEX pulls_unfinished ON pulls (created_at) WHERE finished_at IS NULL;
CREATE INDEX pulls_newest ON pulls (created_at DESC, id);

-- held_diff_id keeps a finished layer from every prune while its pull runs.
CREATE TABLE pull_layers (
    pull_id uuid NOT NULL REFERENCES pulls ON DELETE CASCADE,
    position integer NOT NULL CHECK (position >= 0),
    diff_id sha256_digest NOT NULL,
    blob_digest sha256_digest NOT NULL,
    media_type text NOT NULL,
    total_bytes bigint NOT NULL CHECK (total_bytes >= 0),
    received_bytes bigint NOT NULL DEFAULT 0 CHECK (received_bytes >= 0),
    tar_bytes bigint NOT NULL DEFAULT 0 CHECK (tar_bytes >= 0),
    state text NOT NULL DEFAULT 'waiting' CHECK (state IN
        ('waiting', 'fetching', 'done', 'reused')),
    held_diff_id sha256_digest REFERENCES layers CHECK (held_diff_id = diff_id),
    PRIMARY KEY (pull_id, position)
);
CREATE INDEX pull_layers_by_held_diff_id ON pull_layers (held_diff_id)
    WHERE held_diff_id IS NOT NULL;

-- Files that nothing reaches any more: rows of this table are the only licence to unlink.
-- digest is the file's key: a diff_id for layers, a manifest's digest for fsmeta and vmdk,
-- the sha256 of the reference for manifest descriptions.
CREATE TABLE condemned_files (
    kind text NOT NULL CHECK (kind IN ('layer', 'fsmeta', 'vmdk', 'manifest')),
    digest sha256_digest NOT NULL,
    size_bytes bigint CHECK (size_bytes >= 0),
    erofs_digest sha256_digest, -- of a layer: what a rescue checks it against
    tar_size_bytes bigint,
    condemned_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (kind, digest),
    CHECK ((kind = 'layer') = (erofs_digest IS NOT NULL)),
    CHECK ((kind = 'layer') = (tar_size_bytes IS NOT NULL))
);
CREATE INDEX condemned_files_oldest ON condemned_files (condemned_at);

-- Times as the interface gives them: milliseconds since the epoch.
CREATE FUNCTION epoch_ms(moment timestamptz) RETURNS bigint
    LANGUAGE sql STABLE STRICT PARALLEL SAFE
    RETURN floor(extract(epoch FROM moment) * 1000)::bigint;

-- A glob (`*` matches anything, also `/`) as a LIKE pattern: the one place that knows how.
CREATE FUNCTION glob_to_like(glob text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN replace(replace(replace(replace(glob, '\', '\\'), '%', '\%'), '_', '\_'), '*', '%');
