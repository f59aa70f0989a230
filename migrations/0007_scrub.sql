-- When a file's bytes were last compared with its digest. A file is read back before it is
-- published, so a new row counts as just scrubbed; NULL: never, and first in line.
ALTER TABLE layers ADD COLUMN scrubbed_at timestamptz;
ALTER TABLE layers ALTER COLUMN scrubbed_at SET DEFAULT now();
ALTER TABLE manifests ADD COLUMN scrubbed_at timestamptz; -- of fsmeta, vmdk and descriptions
ALTER TABLE manifests ALTER COLUMN scrubbed_at SET DEFAULT now();
-- The least recently scrubbed comes next.
CREATE INDEX layers_by_scrub ON layers (scrubbed_at NULLS FIRST);
CREATE INDEX manifests_by_scrub ON manifests (scrubbed_at NULLS FIRST);
