-- Which generations of each projection there are, and the one pointer that says which one serves.
CREATE SCHEMA projections;

CREATE TABLE projections.generations (
    projection text NOT NULL,
    generation integer NOT NULL CHECK (generation > 0),
    version integer NOT NULL,
    state text NOT NULL CHECK (state IN ('building', 'active', 'retired')),
    -- A building generation is 'copying' without its indexes, then 'following' with them.
    phase text NOT NULL CHECK (phase IN ('copying', 'following')),
    events_done bigint NOT NULL DEFAULT 0,
    events_total bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    activated_at timestamptz,
    retired_at timestamptz,
    PRIMARY KEY (projection, generation)
);
CREATE UNIQUE INDEX generations_one_active
ON projections.generations (projection) WHERE state = 'active';

CREATE TABLE projections.active (
    projection text PRIMARY KEY,
    generation integer NOT NULL,
    version integer NOT NULL,
    flipped_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    FOREIGN KEY (projection, generation) REFERENCES projections.generations
);

DO $$
DECLARE app text := current_database() || '_app';
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA projections TO %I', app);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON projections.generations TO %I', app);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE ON projections.active TO %I', app);
END $$;
