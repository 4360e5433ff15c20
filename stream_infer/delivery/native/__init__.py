"""Batches taken from and given to the librdkafka inside confluent-kafka by compiled code: no object per record.

    library.py          Library: the functions of that librdkafka
    foreign.py          how a kernel calls a C function and reads memory
    message.py          where the fields of a message lie
    handle.py           where confluent-kafka keeps its client
    proof.py            that all this is so, proved at start
    take_kernel.py      messages -> arrays;  reader.py -> a Batch
    give_kernel.py      arrays -> messages;  delivery reports
    partition_queue.py  PartitionQueue: the consumer's records
    batch_producer.py   BatchProducer: the producer's records and reports
    intake.py           NativeIntake: what a Source takes from
    outbox.py           NativeOutbox: what a Delivery writes to

Membership, rebalances, transactions and offsets stay with confluent-kafka.
"""
