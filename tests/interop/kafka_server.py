"""Apache Kafka: one broker that is its own controller (KRaft), and what these checks do on it.

The jars come from Maven as those of `jvm.py` do.
"""

import base64
import subprocess
import time
import uuid

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from jvm import jars, java
from processes import environment, free_port

START_SECONDS = 60
ANSWER_SECONDS = 30


class Broker:
    """Started in `folder`, which keeps its log; to be stopped. Its ports are free ones of this machine alone."""

    def __init__(self, folder):
        self.folder = folder
        self.address = f"127.0.0.1:{free_port()}"
        controller = f"127.0.0.1:{free_port()}"
        listeners = f"PLAINTEXT://{self.address},CONTROLLER://{controller}"
        settings = {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.bootstrap.servers": controller,
            "listeners": listeners,
            "advertised.listeners": listeners,
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
            "log.dirs": folder / "data",
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 1,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "transaction.state.log.num.partitions": 1,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            "group.initial.rebalance.delay.ms": 0,
            # A member that was killed is missed soon.
            "group.min.session.timeout.ms": 1000,
        }
        self.properties = folder / "server.properties"
        self.properties.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        # An id must not begin like an option.
        self.cluster = "A" + cluster[1:]
        self._run("kafka.tools.StorageTool", "format", "--standalone", "-t", self.cluster, "-c", self.properties)
        self.log = folder / "broker.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                self._command("kafka.Kafka", self.properties), cwd=folder, env=environment(), stdout=log, stderr=log
            )
        self.admin = AdminClient({"bootstrap.servers": self.address, "log_level": 0})
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                self.admin.list_topics(timeout=2)
                return
            except KafkaException as error:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    self.stop()
                    raise AssertionError(f"the broker did not start:\n{self.log.read_text()[-4000:]}") from error

    def _command(self, name, *arguments):
        level = "-Dorg.slf4j.simpleLogger.defaultLogLevel=error"
        return [java(), "-Xmx512m", level, "-cp", f"{jars('kafka')}/*", name, *map(str, arguments)]

    def _run(self, name, *arguments):
        command = self._command(name, *arguments)
        run = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=60, check=False)
        if run.returncode != 0:
            raise AssertionError(f"{name} {arguments} ended with {run.returncode}\n{run.stdout}\n{run.stderr}")

    def create(self, topic, partitions, **settings):
        settings = {name.replace("_", "."): str(value) for name, value in settings.items()}
        new = NewTopic(topic, partitions, 1, config=settings)
        for made in self.admin.create_topics([new]).values():
            made.result(ANSWER_SECONDS)
        # Each answer comes before the broker has taken over.
        while len(self.admin.list_topics(topic, timeout=ANSWER_SECONDS).topics[topic].partitions) < partitions:
            time.sleep(0.05)

    def producer(self, **settings):
        settings = {name.replace("_", "."): value for name, value in settings.items()}
        return Producer({"bootstrap.servers": self.address, "linger.ms": 20} | settings)

    def rewind(self, group, topic, partitions):
        """Sets the offsets of a group that has no member to the beginning."""
        command = ("--bootstrap-server", self.address, "--group", group, "--topic", topic)
        tool = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
        self._run(tool, *command, "--reset-offsets", "--to-earliest", "--execute")
        self.committed(group, topic, partitions)

    def consumer(self, group="reader"):
        settings = {"bootstrap.servers": self.address, "group.id": group, "isolation.level": "read_committed"}
        return Consumer(settings | {"auto.offset.reset": "earliest", "enable.auto.commit": False, "enable.partition.eof": True})

    def committed(self, group, topic, partitions):
        """The group's offset of each partition."""
        consumer = self.consumer(group)
        places = [TopicPartition(topic, partition) for partition in range(partitions)]
        offsets = [place.offset for place in consumer.committed(places, timeout=ANSWER_SECONDS)]
        consumer.close()
        return offsets

    def ends(self, topic, partitions):
        """The offset behind the last decided record of each partition."""
        consumer = self.consumer()
        places = [TopicPartition(topic, partition) for partition in range(partitions)]
        ends = [consumer.get_watermark_offsets(place, timeout=ANSWER_SECONDS)[1] for place in places]
        consumer.close()
        return ends

    def read(self, topic, partitions):
        """All records that were committed, by a consumer of its own."""
        consumer = self.consumer()
        consumer.assign([TopicPartition(topic, partition, 0) for partition in range(partitions)])
        messages, at_end = [], set()
        while len(at_end) < partitions:
            for message in consumer.consume(10_000, timeout=ANSWER_SECONDS):
                if message.error() is None:
                    messages.append(message)
                else:
                    at_end.add(message.partition())
        consumer.close()
        return messages

    def stop(self):
        self.process.kill()
        self.process.wait(10)
