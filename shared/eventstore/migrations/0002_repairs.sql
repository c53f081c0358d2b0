-- What operators did to the log as a whole, by whom and why; `position`, `timeline` and
-- `publication` are the head's after it, `lifted` is the halt that it ended.
CREATE TABLE log.repairs (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    act text NOT NULL CHECK (act IN ('lift-halt', 'new-publication', 'new-timeline')),
    done_by text NOT NULL,
    reason text NOT NULL,
    lifted text,
    position bigint NOT NULL,
    timeline integer NOT NULL,
    publication integer NOT NULL,
    done_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

DO $$ BEGIN
    EXECUTE format('GRANT SELECT ON log.repairs TO %I', current_database() || '_app');
END $$;
