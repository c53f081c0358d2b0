-- How far this generation has read each log, and, for telling the lag, how far the log is known to go.
CREATE TABLE checkpoint (
    log text PRIMARY KEY,
    timeline integer NOT NULL DEFAULT 1,
    position bigint NOT NULL DEFAULT 0 CHECK (position >= 0),
    kafka_offset bigint,
    digest bytea,
    publication integer NOT NULL DEFAULT 1,
    -- Of the last event applied; of the start of reading while there is none.
    recorded_at timestamptz NOT NULL,
    head bigint NOT NULL DEFAULT 0
);
