ALTER TABLE history ADD PRIMARY KEY (log, position);
CREATE INDEX services_by_name ON services (name);
