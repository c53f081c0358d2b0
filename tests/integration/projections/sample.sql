CREATE TABLE history (
    log text NOT NULL,
    position bigint NOT NULL,
    subject text NOT NULL,
    type text NOT NULL
);
CREATE TABLE latest (subject text PRIMARY KEY, position bigint NOT NULL);
CREATE TABLE services (
    subject text COLLATE "C" PRIMARY KEY,
    name text,
    phase text,
    valid_until timestamptz
);
