-- The append-only log and what its writer needs beside it.
CREATE SCHEMA log;

CREATE TABLE log.events (
    position bigint PRIMARY KEY CHECK (position > 0),
    stream text NOT NULL,
    stream_version integer NOT NULL CHECK (stream_version > 0),
    type text NOT NULL,
    recorded_at timestamptz NOT NULL,
    leaf bytea NOT NULL,
    body bytea NOT NULL,
    UNIQUE (stream, stream_version)
);
-- Bodies are read whole and are small: no point in trying to compress each.
ALTER TABLE log.events ALTER COLUMN body SET STORAGE EXTERNAL;

CREATE TABLE log.claims (
    kind text NOT NULL,
    value text NOT NULL,
    stream text NOT NULL,
    position bigint NOT NULL,
    PRIMARY KEY (kind, value)
);

CREATE TABLE log.commands (
    key text PRIMARY KEY,
    request_hash bytea NOT NULL,
    outcome bytea NOT NULL,
    first_position bigint,
    last_position bigint,
    recorded_at timestamptz NOT NULL
);

CREATE TABLE log.head (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    log text NOT NULL,
    timeline integer NOT NULL DEFAULT 1,
    publication integer NOT NULL DEFAULT 1,
    position bigint NOT NULL DEFAULT 0,
    recorded_at timestamptz NOT NULL DEFAULT '-infinity',
    tree bytea NOT NULL DEFAULT '',
    halted text
);

DO $$
DECLARE app text := current_database() || '_app';
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA log TO %I', app);
    EXECUTE format('GRANT SELECT, INSERT ON log.events, log.claims, log.commands TO %I', app);
    EXECUTE format('GRANT SELECT ON log.head TO %I', app);
    EXECUTE format('GRANT INSERT ON log.head TO %I', app);
    EXECUTE format('GRANT UPDATE (position, recorded_at, tree, halted) ON log.head TO %I', app);
END $$;
