from .client import AIOKafkaAdminClient as AIOKafkaAdminClient
from .new_partitions import NewPartitions as NewPartitions
from .new_topic import NewTopic as NewTopic
from .records_to_delete import RecordsToDelete as RecordsToDelete
