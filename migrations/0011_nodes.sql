-- What a node says of itself with each heartbeat, for GET /nodes.
ALTER TABLE nodes ADD COLUMN address text; -- NULL: it serves nobody else, or does not say so yet
ALTER TABLE nodes ADD COLUMN load real;    -- cores that it kept busy since its last heartbeat

-- The oldest schema version whose larder still works on this catalogue. A migration that takes
-- away what an older one needs raises it, and nodes that are too old stop.
ALTER TABLE catalogue ADD COLUMN needs_version integer NOT NULL DEFAULT 1;
