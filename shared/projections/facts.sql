-- Facts in two times: effective (true in the world from) and recorded (when we knew).
-- Indexes are in facts_indexes.sql, since a bulk rebuild copies first.
CREATE TABLE facts (
    subject text COLLATE "C" NOT NULL,
    attribute text COLLATE "C" NOT NULL,
    value text NOT NULL,
    effective_from timestamptz NOT NULL,
    log text NOT NULL,
    position bigint NOT NULL,
    recorded_at timestamptz NOT NULL,
    retracted_at_position bigint,
    retracted_recorded_at timestamptz
);

-- A queue inside one transaction: what the batch's events correct, until it is marked in facts.
CREATE TABLE retractions (
    log text NOT NULL,
    position bigint NOT NULL,
    by_position bigint NOT NULL,
    by_recorded_at timestamptz NOT NULL
);

-- When each subject's present row will next change, because a fact of the future is known.
CREATE TABLE upcoming (
    subject text COLLATE "C" PRIMARY KEY,
    changes_at timestamptz NOT NULL
);
CREATE INDEX upcoming_changes_at ON upcoming (changes_at);

-- Per (subject, attribute) the fact with the largest (effective_from, position) that is effective at
-- as_of, known then and not retracted then. A bound that is NULL, or a log not named, means: all.
CREATE FUNCTION winning_facts(
    of_subjects text[],
    as_of timestamptz,
    known_recorded timestamptz DEFAULT NULL,
    known_logs text[] DEFAULT NULL,
    known_positions bigint[] DEFAULT NULL
)
RETURNS TABLE (
    subject text,
    attribute text,
    value text,
    effective_from timestamptz,
    log text,
    "position" bigint,
    recorded_at timestamptz
)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT DISTINCT ON (f.subject, f.attribute)
        f.subject, f.attribute, f.value, f.effective_from, f.log, f.position, f.recorded_at
    FROM facts AS f
    WHERE f.subject = ANY (of_subjects)
        AND f.effective_from <= as_of
        AND f.recorded_at <= coalesce(known_recorded, 'infinity')
        AND f.position
            <= coalesce(known_positions[array_position(known_logs, f.log)], 9223372036854775807)
        AND (
            f.retracted_at_position IS NULL
            OR f.retracted_recorded_at > coalesce(known_recorded, 'infinity')
            OR f.retracted_at_position
                > coalesce(known_positions[array_position(known_logs, f.log)], 9223372036854775807)
        )
    ORDER BY f.subject, f.attribute, f.effective_from DESC, f.position DESC, f.log DESC;
END;

-- One row per subject that has any such fact: its whole state as {attribute: value}.
CREATE FUNCTION states_at(
    of_subjects text[],
    as_of timestamptz,
    known_recorded timestamptz DEFAULT NULL,
    known_logs text[] DEFAULT NULL,
    known_positions bigint[] DEFAULT NULL
)
RETURNS TABLE (subject text, state jsonb, effective_from timestamptz, recorded_at timestamptz)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT
        w.subject,
        jsonb_object_agg(w.attribute, w.value::jsonb),
        max(w.effective_from),
        max(w.recorded_at)
    FROM winning_facts(of_subjects, as_of, known_recorded, known_logs, known_positions) AS w
    GROUP BY w.subject;
END;

-- The smallest effective_from behind an instant among facts not retracted, for those that have one.
CREATE FUNCTION next_changes(of_subjects text[], behind timestamptz)
RETURNS TABLE (subject text, changes_at timestamptz)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT f.subject, min(f.effective_from)
    FROM facts AS f
    WHERE f.subject = ANY (of_subjects)
        AND f.effective_from > behind
        AND f.retracted_at_position IS NULL
    GROUP BY f.subject;
END;

-- The present state by all that is known, and until when it holds; for the SELECT of a CurrentTable.
CREATE FUNCTION current_facts(of_subjects text[], at timestamptz)
RETURNS TABLE (
    subject text,
    state jsonb,
    effective_from timestamptz,
    recorded_at timestamptz,
    valid_until timestamptz
)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT s.subject, s.state, s.effective_from, s.recorded_at, n.changes_at
    FROM states_at(of_subjects, at) AS s
    LEFT JOIN next_changes(of_subjects, at) AS n USING (subject);
END;

-- Every subject of which an attribute was ever said to have this value (canonical JSON): candidates,
-- to be narrowed by winning_facts.
CREATE FUNCTION subjects_ever(with_attribute text, with_value text)
RETURNS SETOF text
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT DISTINCT f.subject
    FROM facts AS f
    WHERE f.attribute = with_attribute
        AND left(f.value, 256) = left(with_value, 256)
        AND f.value = with_value;
END;
