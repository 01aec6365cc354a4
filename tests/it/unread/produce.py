"""Publishes to a stream as foreign clients do. Bodies come one a line.

produce.py MODE STREAM: raw (stream protocol, bytes without any AMQP section), plain (the same, AMQP 1.0 messages), mixed (one
batch: every other message raw), gzip (one compressed batch), track (no message: a consumer stores an offset for each line),
or an application property of that type by AMQP 1.0: uuid, nan, decimal, char.
"""

import asyncio
import os
import sys
import uuid

mode, stream = sys.argv[1:3]
bodies = [line.rstrip(b"\n") for line in sys.stdin.buffer]
login = {"username": "analytics", "password": os.environ["BROKER_PASSWORD"]}


async def by_stream_protocol():
    from rstream import AMQPMessage, CompressionType, Consumer, Producer

    host, port = os.environ["ANALYTICS_RABBITMQ_STREAM_ADDRESS"].split(":")
    if mode == "track":
        consumer = Consumer(host, int(port), **login)
        await consumer.start()
        for offset, _ in enumerate(bodies):
            await consumer.store_offset(stream=stream, offset=offset, subscriber_name=f"tests-{offset}")
            # Stored without an answer, and those that come together in one record: this one comes behind it.
            await consumer.query_offset(stream=stream, subscriber_name=f"tests-{offset}")
        await consumer.close()
        return
    async with Producer(host, int(port), **login) as producer:
        messages = [AMQPMessage(body=body) for body in bodies]
        if mode == "gzip":
            await producer.send_sub_entry(stream, compression_type=CompressionType.Gzip, sub_entry_messages=messages)
        elif mode == "raw":
            await producer.send_batch(stream, bodies)
        elif mode == "mixed":
            await producer.send_batch(stream, [bodies[n] if n % 2 else message for n, message in enumerate(messages)])
        else:
            await producer.send_batch(stream, messages)


def by_amqp_1_0():
    from proton import Message, char, decimal64
    from proton.utils import BlockingConnection

    values = {"uuid": uuid.uuid4(), "nan": float("nan"), "decimal": decimal64(1), "char": char("a")}
    address = os.environ["BROKER_ADDRESS"]
    connection = BlockingConnection(
        f"amqp://{address}", user=login["username"], password=login["password"], allowed_mechs="PLAIN"
    )
    sender = connection.create_sender(f"/queues/{stream}")
    for body in bodies:
        sender.send(Message(body=body, inferred=True, properties={"value": values[mode]}))
    connection.close()


if mode in ("raw", "plain", "mixed", "gzip", "track"):
    asyncio.run(by_stream_protocol())
else:
    by_amqp_1_0()
