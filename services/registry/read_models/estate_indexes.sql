CREATE UNIQUE INDEX names_by_name ON names (category, form, name);
CREATE UNIQUE INDEX services_by_slug ON services (slug);
CREATE INDEX services_by_organisation ON services (organisation, slug);
CREATE INDEX services_by_owner ON services (owner, slug);
CREATE INDEX services_by_holder ON services USING gin (holders);
CREATE UNIQUE INDEX organisations_by_slug ON organisations (slug);
