-- A load is a pull whose layers come out of an archive that was sent to its node. Nobody
-- joins it, and nobody can take it over: the archive is only there.
ALTER TABLE pulls
    DROP CONSTRAINT pulls_policy_check,
    ADD CONSTRAINT pulls_policy_check
        CHECK (policy IN ('if_missing', 'always', 'never', 'load'));
DROP INDEX pulls_one_at_a_time;
CREATE UNIQUE INDEX pulls_one_at_a_time ON pulls (reference, platform)
    WHERE finished_at IS NULL AND NOT cancel_requested AND policy NOT IN ('never', 'load');
