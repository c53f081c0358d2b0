-- Read model of the dependencies service, besides its facts (of dependencies and of services).
-- Names and ends are immutable: an alias is never taken back, a dependency's ends never change.
CREATE TABLE names (
    name text COLLATE "C" NOT NULL,
    category text NOT NULL,
    subject text COLLATE "C" NOT NULL,
    effective_from timestamptz NOT NULL,
    log text NOT NULL,
    position bigint NOT NULL,
    recorded_at timestamptz NOT NULL
);

CREATE TABLE ends (
    dependency text COLLATE "C" NOT NULL,
    from_name text COLLATE "C" NOT NULL,
    to_name text COLLATE "C",
    external text,
    external_kind text,
    log text NOT NULL,
    position bigint NOT NULL
);

CREATE TABLE edges (
    subject text COLLATE "C" PRIMARY KEY,
    from_name text COLLATE "C" NOT NULL,
    to_name text COLLATE "C",
    external text,
    external_kind text,
    kind text NOT NULL,
    criticality text
);

-- A declared dependency's state as the row that lists and counts look at.
CREATE FUNCTION edge_row(subject text, state jsonb)
RETURNS edges
LANGUAGE sql IMMUTABLE
BEGIN ATOMIC
    SELECT ROW(
        subject,
        state ->> 'from',
        state #>> '{to,service}',
        state #>> '{to,external}',
        CASE WHEN state #>> '{to,external}' IS NOT NULL THEN state #>> '{to,kind}' END,
        state ->> 'kind',
        state ->> 'criticality'
    )::edges;
END;

-- All dependencies declared at (as_of, known), or of those named.
CREATE FUNCTION edges_at(
    as_of timestamptz,
    known_recorded timestamptz,
    known_logs text[],
    known_positions bigint[],
    of_subjects text[] DEFAULT NULL
)
RETURNS SETOF edges
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT (edge_row(s.subject, s.state)).*
    FROM states_at(
        coalesce(of_subjects, ARRAY(SELECT DISTINCT e.dependency FROM ends AS e)),
        as_of, known_recorded, known_logs, known_positions
    ) AS s
    WHERE (s.state ->> 'declared')::boolean;
END;

-- The service that a name means at (as_of, known); NULL while the registry does not know it.
CREATE FUNCTION service_of(
    of_name text,
    as_of timestamptz,
    known_recorded timestamptz,
    known_logs text[],
    known_positions bigint[]
)
RETURNS text
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT n.subject
    FROM names AS n
    WHERE n.category = 'service'
        AND n.name = of_name
        AND n.effective_from <= as_of
        AND n.recorded_at <= coalesce(known_recorded, 'infinity')
        AND n.position
            <= coalesce(known_positions[array_position(known_logs, n.log)], 9223372036854775807);
END;
