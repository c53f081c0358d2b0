CREATE UNIQUE INDEX changes_by_position ON changes (log, position);
CREATE INDEX changes_by_type ON changes (type, log, position);
CREATE INDEX changes_by_subject ON changes (subject);
CREATE INDEX changes_by_service ON changes USING gin (services);
CREATE INDEX changes_by_organisation ON changes USING gin (organisations);
CREATE INDEX ends_by_name ON ends (name, dependency);
CREATE INDEX ends_by_dependency ON ends (dependency);
CREATE INDEX names_by_name ON names (category, name);
CREATE INDEX names_by_subject ON names (category, subject);
