from .consumer import AIOKafkaConsumer as AIOKafkaConsumer
