CREATE UNIQUE INDEX names_by_name ON names (category, name);
CREATE INDEX names_by_subject ON names (subject);
CREATE INDEX ends_from ON ends (from_name);
CREATE INDEX ends_to ON ends (to_name);
CREATE INDEX ends_external ON ends (external);
CREATE INDEX edges_from ON edges (from_name);
CREATE INDEX edges_to ON edges (to_name);
