from .producer import AIOKafkaProducer as AIOKafkaProducer
