-- Which transactions committed, for those whose answer to COMMIT was lost: each writes a row of its
-- own last, and whoever is left without an answer writes the same row with false. Who was first won.
CREATE TABLE commits (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    committed boolean NOT NULL,
    made_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX commits_by_age ON commits (made_at);
