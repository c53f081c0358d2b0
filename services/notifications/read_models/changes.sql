-- Every event of the logs followed, whole, with what a reader can filter by beside it.
CREATE TABLE changes (
    log text COLLATE "C" NOT NULL,
    position bigint NOT NULL,
    timeline integer NOT NULL,
    type text COLLATE "C" NOT NULL,
    subject text COLLATE "C" NOT NULL,
    services text[] NOT NULL,
    organisations text[] NOT NULL,
    recorded_at timestamptz NOT NULL,
    effective_from timestamptz NOT NULL,
    body bytea NOT NULL
);
-- Bodies are read whole and sent as they are: no point in trying to compress each.
ALTER TABLE changes ALTER COLUMN body SET STORAGE EXTERNAL;

-- The services at either end of a dependency as declared: its later events do not name them.
CREATE TABLE ends (
    dependency text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    log text NOT NULL,
    position bigint NOT NULL
);

-- Slugs and aliases of services and organisations, so that a filter may be given by any name.
CREATE TABLE names (
    category text NOT NULL,
    name text COLLATE "C" NOT NULL,
    subject text COLLATE "C" NOT NULL,
    log text NOT NULL,
    position bigint NOT NULL
);
