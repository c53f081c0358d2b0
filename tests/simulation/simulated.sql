-- The tables of the simulated read model, for the real server; the fake has them without.
CREATE TABLE history (
    log text NOT NULL,
    position bigint NOT NULL,
    subject text NOT NULL,
    key text NOT NULL
);
CREATE TABLE latest (subject text PRIMARY KEY, position bigint NOT NULL);
CREATE TABLE counts (subject text PRIMARY KEY, events bigint NOT NULL);
