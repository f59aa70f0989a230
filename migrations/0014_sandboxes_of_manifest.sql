-- A page of a manifest's sandboxes, in their order: one that a hundred thousand hold sorted them all.
CREATE INDEX sandboxes_of_manifest ON sandboxes (held_digest, id) WHERE held_digest IS NOT NULL;
DROP INDEX sandboxes_by_held_digest;
