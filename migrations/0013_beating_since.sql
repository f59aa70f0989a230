-- Since when a node has beaten without a break. After the catalogue was away for all, each other
-- node looks dead to the one that beats first: it judges none before they had the time to beat.
ALTER TABLE nodes ADD COLUMN beating_since timestamptz NOT NULL DEFAULT now();
