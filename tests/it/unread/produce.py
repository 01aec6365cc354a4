"""Publishes to a stream as foreign clients do. Bodies come one a line.

produce.py MODE STREAM: raw (stream protocol, bytes without any AMQP section), plain (the same, AMQP 1.0 messages), mixed (one
batch: every other message raw), batch (one batch that is not compressed), gzip (one compressed batch), entry (each line a
batch as it is: JSON with compression, count, size, and data in Base64), track (no message: a consumer stores an offset for each
line), an application property of that type by AMQP 1.0: uuid, nan, decimal, char, or a body of that type: text, binary, number.
"""

import asyncio
import base64
import json
import os
import sys
import uuid

mode, stream = sys.argv[1:3]
bodies = [line.rstrip(b"\n") for line in sys.stdin.buffer]
login = {"username": "analytics", "password": os.environ["BROKER_PASSWORD"]}


async def by_stream_protocol():
    from rstream import AMQPMessage, CompressionType, Consumer, Producer
    from rstream.compression import ICompressionCodec, StreamCompressionCodecs

    class Given(ICompressionCodec):
        """What comes as the only message is the batch."""

        def compress(self, messages):
            self.entry = json.loads(messages[0])

        def uncompress(self, compressed_data, uncompressed_data_size):
            raise NotImplementedError

        def compressed_size(self):
            return len(self.data())

        def uncompressed_size(self):
            return self.entry["size"]

        def messages_count(self):
            return self.entry["count"]

        def compression_type(self):
            return self.entry["compression"]

        def data(self):
            return base64.b64decode(self.entry["data"])

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
        elif mode == "batch":
            await producer.send_sub_entry(stream, compression_type=CompressionType.No, sub_entry_messages=messages)
        elif mode == "entry":
            StreamCompressionCodecs.register_codec(CompressionType.Zstd, Given())
            for body in bodies:
                await producer.send_sub_entry(stream, compression_type=CompressionType.Zstd, sub_entry_messages=[body])
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
        match mode:
            case "text":
                message = Message(body=body.decode())
            case "binary":
                message = Message(body=body, inferred=False)
            case "number":
                message = Message(body=int(body))
            case _:
                message = Message(body=body, inferred=True, properties={"value": values[mode]})
        sender.send(message)
    connection.close()


if mode in ("raw", "plain", "mixed", "batch", "gzip", "entry", "track"):
    asyncio.run(by_stream_protocol())
else:
    by_amqp_1_0()
