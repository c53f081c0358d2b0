-- What relay and intake must remember beside the log: leases, how far, and what was refused.
CREATE SCHEMA messaging;

-- One row per job that only one process may do at a time.
CREATE TABLE messaging.leases (
    name text PRIMARY KEY,
    holder text NOT NULL DEFAULT '',
    epoch bigint NOT NULL DEFAULT 0,
    expires_at timestamptz NOT NULL DEFAULT '-infinity'
);
INSERT INTO messaging.leases (name) VALUES ('relay'), ('intake'), ('rejections');

-- A hint, never the cursor: that the topic of a publication once held this much.
CREATE TABLE messaging.publications (
    publication integer PRIMARY KEY,
    published bigint NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE messaging.intake_offsets (
    topic text NOT NULL,
    partition integer NOT NULL,
    next_offset bigint NOT NULL DEFAULT 0 CHECK (next_offset >= 0),
    last_digest bytea,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (topic, partition)
);

-- Erasable: `original` may hold what its sender should never have sent.
CREATE TABLE messaging.rejections (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    organisation text NOT NULL,
    source text,
    id text,
    reason text NOT NULL,
    digest bytea NOT NULL,
    original bytea,
    topic text NOT NULL,
    partition integer NOT NULL,
    kafka_offset bigint NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    published_at timestamptz
);
CREATE INDEX rejections_by_submission
    ON messaging.rejections (organisation, source, id, number DESC);
CREATE INDEX rejections_unpublished
    ON messaging.rejections (organisation, number) WHERE published_at IS NULL;

DO $$
DECLARE app text := current_database() || '_app';
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA messaging TO %I', app);
    EXECUTE format('GRANT SELECT ON ALL TABLES IN SCHEMA messaging TO %I', app);
    EXECUTE format('GRANT UPDATE (holder, epoch, expires_at) ON messaging.leases TO %I', app);
    EXECUTE format(
        'GRANT INSERT, UPDATE ON messaging.publications, messaging.intake_offsets TO %I', app
    );
    EXECUTE format('GRANT INSERT, DELETE ON messaging.rejections TO %I', app);
    EXECUTE format('GRANT UPDATE (original, published_at) ON messaging.rejections TO %I', app);
END $$;
