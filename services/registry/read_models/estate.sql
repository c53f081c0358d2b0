-- Read model of the registry, besides its facts. Names are immutable: an alias is never taken back.
CREATE TABLE names (
    category text NOT NULL,
    form text NOT NULL,
    name text COLLATE "C" NOT NULL,
    subject text COLLATE "C" NOT NULL,
    log text NOT NULL,
    position bigint NOT NULL,
    recorded_at timestamptz NOT NULL
);

CREATE TABLE services (
    subject text COLLATE "C" PRIMARY KEY,
    slug text COLLATE "C" NOT NULL,
    name text NOT NULL,
    kind text NOT NULL,
    organisation text,
    phase text,
    listed boolean NOT NULL,
    visibility text NOT NULL,
    owner text,
    holders text[] NOT NULL
);

CREATE TABLE organisations (
    subject text COLLATE "C" PRIMARY KEY,
    slug text COLLATE "C" NOT NULL,
    name text NOT NULL,
    kind text NOT NULL,
    parent text
);

-- A service's state as the row that lists, filters and counts look at. Join it: `(f(x)).*` would call
-- it once for each column.
CREATE FUNCTION service_row(subject text, state jsonb)
RETURNS services
LANGUAGE sql IMMUTABLE
BEGIN ATOMIC
    SELECT ROW(
        subject,
        state ->> 'slug',
        state ->> 'name',
        state ->> 'kind',
        state ->> 'organisation',
        state ->> 'phase',
        (state ->> 'listed')::boolean,
        state ->> 'visibility',
        state ->> 'role:owning-team',
        ARRAY(
            SELECT DISTINCT e.value
            FROM jsonb_each_text(state) AS e
            WHERE e.key LIKE 'role:%' AND e.value IS NOT NULL
            ORDER BY e.value
        )
    )::services;
END;

-- All services as they were at (as_of, known), or only those named.
CREATE FUNCTION services_at(
    as_of timestamptz,
    known_recorded timestamptz,
    known_logs text[],
    known_positions bigint[],
    of_subjects text[] DEFAULT NULL
)
RETURNS SETOF services
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT r.*
    FROM states_at(
        coalesce(
            of_subjects,
            ARRAY(SELECT n.subject FROM names AS n WHERE n.category = 'service' AND n.form = 'slug')
        ),
        as_of, known_recorded, known_logs, known_positions
    ) AS s
    CROSS JOIN LATERAL service_row(s.subject, s.state) AS r
    WHERE s.state ? 'name';
END;
