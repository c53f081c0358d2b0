-- Log and position first: rows arrive in that order, and a correction names its facts by them.
ALTER TABLE facts ADD PRIMARY KEY (log, position, subject, attribute);
CREATE INDEX facts_winning
ON facts (subject, attribute, effective_from DESC, position DESC, log DESC);
-- A value may be longer than an index entry can hold.
CREATE INDEX facts_by_value ON facts (attribute, left(value, 256));
