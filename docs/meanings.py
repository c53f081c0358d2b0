"""Owns what each environment variable means, in words; the code says the rest.

Must name every variable that is read, and no other: the generator refuses anything else.
"""

from typing import Final

VARIABLES: Final = {
    "<SERVICE>_DATABASE_DSN": "Database of the service, as its `_app` role. A secret.",
    "<SERVICE>_OWNER_DSN": "The same database as its `_owner` role; read by `migrate` and `log`. "
    "A secret.",
    "<SERVICE>_HTTP_HOST": "Address to listen on.",
    "<SERVICE>_HTTP_PORT": "Port to listen on; 0 takes a free one.",
    "ESTATE_KAFKA_BOOTSTRAP": "Kafka's bootstrap addresses, `host:port,host:port`.",
    "ESTATE_KAFKA_SECURITY_PROTOCOL": "`PLAINTEXT`, `SSL`, `SASL_PLAINTEXT` or `SASL_SSL`. With "
    "TLS the system's certificate authorities are trusted.",
    "ESTATE_KAFKA_SASL_MECHANISM": "`PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`; needs user name "
    "and password.",
    "ESTATE_KAFKA_USERNAME": "User name for SASL.",
    "ESTATE_KAFKA_PASSWORD": "Password for SASL. A secret.",
    "ESTATE_KEYS_FILE": "File of hashes of API keys, the same one for every service.",
    "ESTATE_CURSOR_SECRET": "Secret that page cursors are signed with, 16 characters or more, the "
    "same in every process of a service. A secret.",
    "ESTATE_JWT_ISSUER": "Issuer whose tokens are believed; without it and an audience, none are.",
    "ESTATE_JWT_AUDIENCE": "Audience that a token must name.",
    "ESTATE_JWKS_URL": "Where the issuer's public keys are fetched.",
    "ESTATE_JWKS_FILE": "File with the issuer's public keys; wins over the address.",
    "ESTATE_PUBLIC_READS": "`true` answers some reads without a key, about public services only.",
    "ESTATE_LOG_LEVEL": "`DEBUG`, `INFO`, `WARNING`, `ERROR` or `CRITICAL`.",
    "ESTATE_FAILPOINTS": "Points at which the process kills itself, `name` or `name:arrivals`, for "
    "tests of crashes. Leave it empty.",
    "ESTATE_URL_REGISTRY": "Base address of the registry.",
    "ESTATE_URL_DEPENDENCIES": "Base address of the dependencies service.",
    "ESTATE_URL_NOTIFICATIONS": "Base address of the notifications service.",
    "REGISTRY_DATABASE_DSN": "The registry's database, to verify, replay or rebuild from.",
    "DEPENDENCIES_DATABASE_DSN": "The dependencies service's database, likewise.",
    "NOTIFICATIONS_DATABASE_DSN": "The notifications service's database, likewise.",
    "ESTATE_KEY_FILE": "File that holds the key to call with, alone on one line.",
    "ESTATE_KAFKA_FILE": "File with the credentials of a user of Kafka to submit with, in JSON.",
    "ESTATE_POSTGRES_DSN": "A PostgreSQL server to use, as its administrator, instead of starting "
    "one.",
    "ESTATE_CACHE_DIR": "Folder in which Kafka's jars and the cache of its classes are kept "
    "(120 MB).",
    "ESTATE_MAVEN_REPOSITORY": "Another Maven repository to fetch Kafka's jars from.",
    "XDG_CACHE_HOME": "Parent of the default cache folder.",
}
