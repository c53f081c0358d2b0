-- What is refused over HTTP is kept as well. It came on no topic, and its sender was told at once.
ALTER TABLE messaging.rejections
    ALTER COLUMN digest DROP NOT NULL,
    ALTER COLUMN topic DROP NOT NULL,
    ALTER COLUMN partition DROP NOT NULL,
    ALTER COLUMN kafka_offset DROP NOT NULL,
    ADD CHECK (num_nulls(digest, topic, partition, kafka_offset) IN (0, 4));
CREATE INDEX rejections_by_age ON messaging.rejections (recorded_at);
