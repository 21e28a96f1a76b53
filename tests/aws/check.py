"""`sam deploy` of the template to ministack, a stand-in for AWS on this machine; records put into the stream; the table
read back.

What ministack 1.5.33 does otherwise than AWS, and what covers it instead:

- It does not know Glue's table optimizers: the tests of the Glue catalog have them. Here append is refused, says so, and
  appends all the same.
- It calls transform once for each record and writes one object, not compressed, for each: tests/interop and the tests of
  transform have batches and gzip. Records that transform refuses vanish: here an error object is put where Firehose would
  put it.
- Parameters that are numbers arrive as text, and its poller of queues stumbles over them: `Stack.__init__` sets them again.
- It has neither alarms with metric math nor CodeDeploy, and the stack fails with them: `without_what_is_unknown` takes them
  out; tests/template has them. So a new version of a function takes over at once.
- It stores, but does not enforce: policies of any kind, KMS keys, alarms, the dashboard. It drops the buckets' lifecycle
  rules and access logs, and reserved concurrency. tests/template checks what can be checked without.
- It calls no function and no stream on a schedule within the time of a test: the canary's event is put by the test as the rule
  would put it, and maintain is asked as its schedule would ask.
- Functions run on this machine: architecture and memory are this machine's. Layers are not unpacked, so that a
  TableDefinition is deployed here, and not read.
"""

import base64
import json
import os
import re
import subprocess
import sys
import time
import unittest
from pathlib import Path

import boto3
import botocore.config
import yaml
from pyiceberg.exceptions import NoSuchTableError

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
sys.path += [str(HERE.parent), str(HERE.parent / "interop")]
import counted  # noqa: E402, beside this folder
from aws_server import REGION, Ministack  # noqa: E402, beside this folder
from lambdas import Function  # noqa: E402, beside this folder

BUCKET = "code"
DEPLOY_SECONDS = 300
ROWS_SECONDS = 180


class Loader(yaml.SafeLoader):
    """Reads a template in YAML as if it were in JSON: `!Ref x` as {"Ref": x}, `!GetAtt x.y` as {"Fn::GetAtt": [x, y]}."""


def intrinsic(loader, name, node):
    value = {
        yaml.ScalarNode: loader.construct_scalar,
        yaml.SequenceNode: lambda node: loader.construct_sequence(node, deep=True),
        yaml.MappingNode: lambda node: loader.construct_mapping(node, deep=True),
    }[type(node)](node)
    if name == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {name if name in ("Ref", "Condition") else f"Fn::{name}": value}


Loader.add_multi_constructor("!", intrinsic)


def without_what_is_unknown(path):
    """Rewrites the template that was built, in JSON, without the alarms and the deployments that ministack does not know."""
    template = yaml.load(path.read_text(), Loader)
    resources = template["Resources"]
    computed = [name for name, resource in resources.items() if "Metrics" in resource.get("Properties", {})]
    assert computed, "there is none: this is not needed any more"
    body = resources["Dashboard"]["Properties"]["DashboardBody"]
    for name in computed:
        del resources[name]
        body["Fn::Sub"] = re.sub(rf'"\$\{{{name}\.Arn\}}",?', "", body["Fn::Sub"])
    gradual = [owner.pop("DeploymentPreference", None) for owner in (
        template["Globals"]["Function"], *(resource.get("Properties", {}) for resource in resources.values()))]
    assert any(gradual), "there is none: this is not needed any more"
    path.write_text(json.dumps(template))


class Aws:
    """The stand-in, for as long as the tests run."""

    def __init__(self):
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            del os.environ[name] # nothing of this may reach an account
        os.environ |= {
            "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        self.ministack = Ministack(REPOSITORY / "target/aws")
        os.environ["AWS_ENDPOINT_URL"] = self.ministack.uri
        self.client("s3").create_bucket(Bucket=BUCKET)

    def client(self, service):
        config = botocore.config.Config(retries={"max_attempts": 2}, connect_timeout=5, read_timeout=60)
        return boto3.client(service, config=config)


def wait_for(condition, seconds, what):
    """The first true value of `condition`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.5)
    raise AssertionError(f"waited {seconds} s for {what}")


def deploy(command):
    deployed = subprocess.run(command, timeout=DEPLOY_SECONDS, capture_output=True, text=True)
    if deployed.returncode:
        # The reason comes early, before all that is rolled back.
        lines = deployed.stdout.splitlines()
        reasons = [line for at, line in enumerate(lines) if "_FAILED" in " ".join(lines[max(0, at - 5):at + 1])]
        raise RuntimeError("\n".join(reasons[:40]) + deployed.stdout[-1000:] + deployed.stderr[-4000:])


class Stack:
    """A stack that was deployed."""

    def __init__(self, aws, name, **parameters):
        self.aws, self.name = aws, name
        command = [HERE / "deploy.sh", "template.yaml", name, BUCKET, *(f"{key}={value}" for key, value in parameters.items())]
        deploy(command)
        stack, = aws.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
        self.outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
        self.parameters = {one["ParameterKey"]: one["ParameterValue"] for one in stack["Parameters"]}
        functions = aws.client("lambda")
        self.source, = functions.list_event_source_mappings(EventSourceArn=self.outputs["QueueArn"])["EventSourceMappings"]
        # Numbers, not text; and a short window, so that the test need not wait for company.
        functions.update_event_source_mapping(UUID=self.source["UUID"], MaximumBatchingWindowInSeconds=1, ScalingConfig={
            "MaximumConcurrency": int(self.parameters["AppendConcurrency"])})

    def put(self, events):
        client = self.aws.client("firehose")
        for start in range(0, len(events), 50):
            records = [{"Data": json.dumps(event).encode()} for event in events[start:start + 50]]
            answer = client.put_record_batch(DeliveryStreamName=self.outputs["StreamName"], Records=records)
            assert answer["FailedPutCount"] == 0, answer

    def keys(self, prefix):
        lister = self.aws.client("s3").get_paginator("list_objects_v2")
        pages = lister.paginate(Bucket=self.outputs["RawBucket"], Prefix=prefix)
        return [found["Key"] for page in pages for found in page.get("Contents", [])]

    def live(self, function):
        """What calls of `function` run, such as Append: the configuration of the version that its alias names."""
        arn = self.outputs[f"{function}FunctionArn"]
        return self.aws.client("lambda").get_function_configuration(FunctionName=arn, Qualifier="live")

    def waiting(self):
        """Messages in the queue that are not done."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        queue = self.outputs["QueueArn"].rpartition(":")[2]
        client = self.aws.client("sqs")
        url = client.get_queue_url(QueueName=queue)["QueueUrl"]
        attributes = client.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        return sum(int(attributes[name]) for name in names)

    def table(self, name=None):
        """The stack's table, or another one beside it."""
        name = self.outputs["Table"] if name is None else f"{self.parameters['TableDatabase']}.{name}"
        s3 = {"endpoint": self.aws.ministack.uri, "region": REGION, "access-key-id": "test", "secret-access-key": "test"}
        return self.aws.ministack.glue_table(name, {f"s3.{key}": value for key, value in s3.items()})

    def rows(self, name=None):
        try:
            return self.table(name).scan().to_arrow().to_pylist()
        except NoSuchTableError:
            return []

    def log(self):
        """Lines of append."""
        pages = self.aws.client("logs").get_paginator("filter_log_events").paginate(
            logGroupName=f"/aws/lambda/{self.name}-append")
        return [event["message"].rstrip() for page in pages for event in page["events"]]

    def wait_for_rows(self, count):
        try:
            wait_for(lambda: len(self.rows()) >= count and not self.waiting(), ROWS_SECONDS, f"{count} rows")
        except AssertionError as error:
            state = f"there are {len(self.rows())}, {self.waiting()} messages wait"
            raise AssertionError(f"{error}; {state}\n" + "\n".join(self.log()[-40:])) from None
        return self.rows()


class Local(unittest.TestCase):
    def test_append_starts_as_sam_local_starts_it(self):
        """With the variables that tests/template finds, credentials that are none, and no AWS."""
        log = REPOSITORY / "target/aws/sam-local.log"
        log.write_bytes(b"")
        function = Function(REPOSITORY / "target/aws/build/AppendFunction/bootstrap", log, {
            "AWS_SAM_LOCAL": "true", "AWS_REGION": REGION, "AWS_ACCESS_KEY_ID": "defaultkey",
            "AWS_SECRET_ACCESS_KEY": "defaultsecret", "FRAZIL_CATALOG": "glue", "FRAZIL_TABLE": "streaming_analytics.user_events",
            "FRAZIL_WAREHOUSE": "s3://WarehouseBucket/warehouse", "FRAZIL_ERRORS": "s3://WarehouseBucket/errors",
            "FRAZIL_TABLE_DEFINITION": "", "FRAZIL_GLUE_OPTIMIZER_ROLE": "", "FRAZIL_S3_SSE": "", "FRAZIL_S3_KMS_KEY_ID": "",
        })
        self.addCleanup(function.stop)
        answer = function.invoke(json.loads((REPOSITORY / "events/s3-test-event.json").read_text()))
        self.assertEqual(answer, ("response", {"objects": 0, "rows": 0, "rows_quarantined": 0}))


class Deployed(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        without_what_is_unknown(REPOSITORY / "target/aws/build/template.yaml")
        cls.aws = Aws()
        cls.addClassCleanup(cls.aws.ministack.stop)
        cls.stack = Stack(cls.aws, "frazil")

    def test_1_the_queue_calls_append_as_the_template_says(self):
        source = self.stack.source
        self.assertEqual(int(source["BatchSize"]), 100)
        self.assertEqual(int(source["MaximumBatchingWindowInSeconds"]), 60)
        self.assertEqual(source["FunctionResponseTypes"], ["ReportBatchItemFailures"])
        self.assertEqual(source["FunctionArn"], self.stack.outputs["AppendFunctionArn"] + ":live")

    def test_1_objects_of_two_prefixes_are_announced(self):
        queues = self.notifications()["QueueConfigurations"]
        prefixes = [rule["Value"] for queue in queues for rule in queue["Filter"]["Key"]["FilterRules"]]
        self.assertEqual(prefixes, ["raw/", "errors/processing-failed/"])

    def test_1_dead_letters_have_a_way_back(self):
        client, outputs = self.aws.client("sqs"), self.stack.outputs
        url = client.get_queue_url(QueueName=outputs["QueueArn"].rpartition(":")[2])["QueueUrl"]
        attributes = client.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        self.assertEqual(json.loads(attributes["RedrivePolicy"]),
                         {"deadLetterTargetArn": outputs["DeadLetterQueueArn"], "maxReceiveCount": 20})
        self.assertEqual(attributes["QueueArn"], outputs["QueueArn"])
        self.assertEqual(outputs["RedriveCommand"].split(), [
            "aws", "sqs", "start-message-move-task", "--region", REGION, "--source-arn", outputs["DeadLetterQueueArn"],
            "--destination-arn", outputs["QueueArn"]])

    def test_1_other_parameters_deploy(self):
        self.aws.client("kinesis").create_stream(StreamName="source", ShardCount=1)
        key = "arn:aws:kms:us-east-1:000000000000:key/00000000-0000-0000-0000-000000000000"
        stack = Stack(
            self.aws, "other", StreamName="other", KinesisKeyArn=key, KmsKeyArn=key, TableDatabase="other",
            KinesisStreamArn="arn:aws:kinesis:us-east-1:000000000000:stream/source", TableDefinition="user_events.json",
            TableLocation="s3://elsewhere/tables/user_events", AlarmEmail="a@example.org", ReserveConcurrency="true",
            RawRetentionDays=0, AppendConcurrency=5, TransformBufferMB=0.5, TransformBufferSeconds=0, TableOptimizers="off",
            Tracing="on", TransformInvocationLogs="on", NoDataAlarmHours=0)
        function = self.aws.client("lambda").get_function_configuration(FunctionName=stack.outputs["AppendFunctionArn"])
        variables = function["Environment"]["Variables"]
        self.assertEqual(variables["FRAZIL_TABLE_DEFINITION"], "/opt/user_events.json")
        self.assertEqual((variables["FRAZIL_S3_SSE"], variables["FRAZIL_S3_KMS_KEY_ID"]), ("aws:kms", key))
        self.assertNotIn("FRAZIL_GLUE_OPTIMIZER_ROLE", variables)
        function = self.aws.client("lambda").get_function_configuration(FunctionName=stack.outputs["TransformFunctionArn"])
        self.assertEqual(function["Environment"]["Variables"]["FRAZIL_LOG"], "info")

    def test_2_every_record_is_a_row_once(self):
        self.stack.put([event(number) for number in range(100)])
        self.assert_rows(self.stack.wait_for_rows(100), range(100))
        # ministack refuses the optimizers that append was told to attach; that is all that comes of it.
        function = self.aws.client("lambda").get_function_configuration(FunctionName=self.stack.outputs["AppendFunctionArn"])
        role = function["Environment"]["Variables"]["FRAZIL_GLUE_OPTIMIZER_ROLE"]
        self.assertEqual(role, self.stack.outputs["OptimizerRoleArn"])
        told = [line for line in self.stack.log() if "the table lacks optimizers" in line]
        self.assertTrue(told)
        self.assertIn("cannot attach the optimizer", told[0])

    def test_3_announced_again_they_are_not_appended_again(self):
        bucket, client = self.stack.outputs["RawBucket"], self.aws.client("sqs")
        url = client.get_queue_url(QueueName=self.stack.outputs["QueueArn"].rpartition(":")[2])["QueueUrl"]
        snapshots = len(self.stack.table().snapshots())
        for key in self.stack.keys("raw/")[:10]:
            head = self.aws.client("s3").head_object(Bucket=bucket, Key=key)
            announced = {"key": key, "size": head["ContentLength"], "eTag": head["ETag"].strip('"'),
                         "versionId": head["VersionId"], "sequencer": "00"}
            record = {"eventVersion": "2.1", "eventSource": "aws:s3", "awsRegion": "us-east-1",
                      "eventName": "ObjectCreated:Put", "eventTime": "2026-01-02T03:04:05.000Z",
                      "s3": {"bucket": {"name": bucket}, "object": announced}}
            client.send_message(QueueUrl=url, MessageBody=json.dumps({"Records": [record]}))
        wait_for(lambda: not self.stack.waiting(), ROWS_SECONDS, "the queue to be empty")
        self.assert_rows(self.stack.rows(), range(100))
        self.assertEqual(len(self.stack.table().snapshots()), snapshots)

    def test_4_failed_records_become_rows_and_other_errors_do_not(self):
        lines = [{
            "attemptsMade": 4, "arrivalTimestamp": 1767323045678, "attemptEndingTimestamp": 1767323055678,
            "errorCode": "Lambda.FunctionError", "errorMessage": "The function answered with an error.",
            "lambdaArn": "arn:aws:lambda:us-east-1:000000000000:function:f:$LATEST",
            "rawData": base64.b64encode(json.dumps(event(number)).encode()).decode(),
        } for number in range(100, 105)]
        body = "".join(json.dumps(line) + "\n" for line in lines).encode()
        for kind in ("format-conversion-failed", "processing-failed"):
            key = f"errors/{kind}/2026/01/02/03/clicks-1-2026-01-02-03-04-05-8f0c4d4e-6a3f-4b7e-9d43-0f6d6a1b2c3d"
            self.aws.client("s3").put_object(Bucket=self.stack.outputs["RawBucket"], Key=key, Body=body)
        self.assert_rows(self.stack.wait_for_rows(105), range(105))

    def test_5_eventbridge_comes_beside_the_queue(self):
        def to_the_queue():
            return [{**queue, "Id": None} for queue in self.notifications()["QueueConfigurations"]]

        before, version = to_the_queue(), self.stack.live("Append")["Version"]
        stack = Stack(self.aws, "frazil", EventBridge="on", MaxRejectedPercent=50, CanaryMinutes=5, RouteField="kind",
                      RouteDefinitions=f"s3://{BUCKET}/definitions")
        # SAM alone would leave the alias at the version before, for the code is the same.
        live = stack.live("Append")
        self.assertNotEqual(live["Version"], version)
        self.assertEqual(live["Environment"]["Variables"]["FRAZIL_MAX_REJECTED_PERCENT"], "50")
        self.assertEqual(to_the_queue(), before)
        self.assertIn("EventBridgeConfiguration", self.notifications())
        stack.put([event(number) for number in range(105, 125)])
        self.assert_rows(stack.wait_for_rows(125), range(125))

    def test_6_a_table_of_a_route_is_made_by_its_definition_in_s3(self):
        definition = {"name": "orders", "properties": {"made-by": "definition"}, "schema": {
            "type": "struct", "schema-id": 0, "fields": [
                {"id": 1, "name": "record_id", "type": "string", "required": False},
                {"id": 2, "name": "price", "type": "decimal(9, 2)", "required": False}]}}
        self.aws.client("s3").put_object(Bucket=BUCKET, Key="definitions/orders.json", Body=json.dumps(definition).encode())
        self.stack.put([{"kind": "orders", "price": 1.5}, {"kind": "returns", "price": 1.5}])
        wait_for(lambda: len(self.stack.rows("orders")) == len(self.stack.rows("returns")) == 1, ROWS_SECONDS, "two tables")
        types = {name: str(self.stack.table(name).schema().find_type("price")) for name in ("orders", "returns")}
        self.assertEqual(types, {"orders": "decimal(9, 2)", "returns": "double"})
        self.assertEqual(self.stack.table("orders").properties["made-by"], "definition")

    def test_7_the_canary_arrives_and_the_table_is_fresh(self):
        events, outputs = self.aws.client("events"), self.stack.outputs
        targets = [target for rule in events.list_rules()["Rules"]
                   for target in events.list_targets_by_rule(Rule=rule["Name"])["Targets"]]
        (canary,) = [target for target in targets if target["Arn"] == outputs["StreamArn"]]
        maintain = [json.loads(target.get("Input") or "{}") for target in targets
                    if target["Arn"] == outputs["MaintainFunctionArn"] + ":live"]
        self.assertEqual(sorted(maintain, key=len), [{}, {"freshness": outputs["Table"]}])
        client = self.aws.client("firehose")
        client.put_record(DeliveryStreamName=outputs["StreamName"], Record={"Data": canary["Input"].encode()})
        canaries = wait_for(lambda: [row for row in self.stack.rows() if row["event_type"] == "canary"], ROWS_SECONDS, "the canary")
        self.assertEqual(len(canaries), 1)
        arrived = canaries[0]["ingestion_timestamp"].timestamp()
        before = time.time() - arrived
        answer = self.aws.client("lambda").invoke(
            FunctionName=outputs["MaintainFunctionArn"], Qualifier="live", Payload=json.dumps({"freshness": outputs["Table"]}))
        measured = json.loads(answer["Payload"].read())["data_freshness"]
        self.assertTrue(before - 0.1 <= measured <= time.time() - arrived + 0.1, (before, measured))

    def test_8_an_older_version_can_be_called_again(self):
        """As docs/deploying.md says."""
        client, function = self.aws.client("lambda"), self.stack.outputs["AppendFunctionArn"]
        live = self.stack.live("Append")
        versions = [one["Version"] for one in client.list_versions_by_function(FunctionName=function)["Versions"]]
        *older, newest = sorted(int(version) for version in versions if version != "$LATEST")
        self.assertEqual(int(live["Version"]), newest)
        client.update_alias(FunctionName=function, Name="live", FunctionVersion=str(older[-1]),
                            RoutingConfig={"AdditionalVersionWeights": {}})
        self.assertNotIn("FRAZIL_ROUTE_FIELD", {name for name, value in self.stack.live("Append")["Environment"]["Variables"].items() if value})
        before = len(self.stack.rows())
        self.stack.put([{"kind": "orders", "user_id": "of-an-older-version"}])
        # It knows of no route.
        rows = self.stack.wait_for_rows(before + 1)
        self.assertEqual([row["kind"] for row in rows if row["user_id"] == "of-an-older-version"], ["orders"])

    def notifications(self):
        client = self.aws.client("s3")
        return client.get_bucket_notification_configuration(Bucket=self.stack.outputs["RawBucket"])

    def assert_rows(self, rows, numbers):
        self.assertEqual(sorted(row["user_id"] for row in rows), sorted(f"user-{number}" for number in numbers))
        self.assertEqual(len({row["record_id"] for row in rows}), len(rows))
        bucket = self.stack.outputs["RawBucket"]
        self.assertTrue(all(row["file_name"].startswith(f"s3://{bucket}/") for row in rows))


class Queries(unittest.TestCase):
    """queries.yaml, as far as ministack knows it: it has no saved queries, and what Athena makes of their texts is not
    Athena's (tests/interop/check_18_queries.py has the texts). tests/template holds the stack against the texts."""

    @classmethod
    def setUpClass(cls):
        cls.aws = Aws()
        cls.addClassCleanup(cls.aws.ministack.stop)
        template = yaml.load((REPOSITORY / "queries.yaml").read_text(), Loader)
        resources = template["Resources"]
        saved = [name for name, resource in resources.items() if resource["Type"] == "AWS::Athena::NamedQuery"]
        assert saved
        for name in saved:
            del resources[name]
        substitutions = resources["Measure"]["Properties"]["DefinitionSubstitutions"]
        for name, value in substitutions.items():
            if isinstance(value, dict) and value.get("Fn::GetAtt", [None])[0] in saved:
                substitutions[name] = f"id-of-{name}"
        (REPOSITORY / "target/aws/build/queries.json").write_text(json.dumps(template))
        cls.aws.client("s3").create_bucket(Bucket="warehouse")
        cls.aws.client("glue").create_database(DatabaseInput={"Name": "streaming_analytics"})
        deploy([HERE / "deploy.sh", "queries.json", "frazil-queries", BUCKET, "WarehouseBucket=warehouse", "EveryMinutes=5"])

    def test_the_workgroup_stops_what_reads_too_much(self):
        group = self.aws.client("athena").get_work_group(WorkGroup="frazil-queries")["WorkGroup"]["Configuration"]
        self.assertIs(group["EnforceWorkGroupConfiguration"], True)
        self.assertEqual(int(group["BytesScannedCutoffPerQuery"]), 10_240_000_000)
        bucket = re.fullmatch(r"s3://([^/]+)/results/", group["ResultConfiguration"]["OutputLocation"])[1]
        self.aws.client("s3").head_bucket(Bucket=bucket)

    def test_the_view_is_one_of_athena(self):
        view = self.aws.client("glue").get_table(DatabaseName="streaming_analytics", Name="real_time_metrics")["Table"]
        self.assertEqual((view["TableType"], view["Parameters"]["presto_view"]), ("VIRTUAL_VIEW", "true"))
        encoded = re.fullmatch(r"/\* Presto View: (\S+) \*/", view["ViewOriginalText"])[1]
        body = json.loads(base64.b64decode(encoded))
        self.assertIn("FROM streaming_analytics.user_events WHERE", body["originalSql"])
        names = [column["Name"] for column in view["StorageDescriptor"]["Columns"]]
        self.assertEqual([column["name"] for column in body["columns"]], names)

    def test_the_schedule_starts_a_machine_that_knows_its_table(self):
        (machine,) = self.aws.client("stepfunctions").list_state_machines()["stateMachines"]
        scheduler = self.aws.client("scheduler")
        (found,) = scheduler.list_schedules()["Schedules"]
        schedule = scheduler.get_schedule(Name=found["Name"], GroupName=found["GroupName"])
        self.assertEqual(schedule["ScheduleExpression"], "rate(5 minutes)")
        self.assertEqual(schedule["Target"]["Arn"], machine["stateMachineArn"])
        text = self.aws.client("stepfunctions").describe_state_machine(stateMachineArn=machine["stateMachineArn"])["definition"]
        self.assertEqual(re.findall(r"\$\{\w+\}", text), [])
        branches = json.loads(text)["States"]["Measure"]["Branches"]
        queries = [state["Arguments"] for branch in branches for state in branch["States"].values()
                   if state["Resource"].endswith("startQueryExecution.sync")]
        self.assertEqual([query["WorkGroup"] for query in queries], ["frazil-queries"] * 3)

    def test_the_table_of_metrics_has_the_columns_of_the_view(self):
        glue = self.aws.client("glue")
        tables = [glue.get_table(DatabaseName="streaming_analytics", Name=name)["Table"]["StorageDescriptor"]["Columns"]
                  for name in ("real_time_metrics", "real_time_metrics_by_minute")]
        self.assertEqual(*[[(column["Name"], column["Type"]) for column in columns] for columns in tables])


def event(number):
    return {"user_id": f"user-{number}", "event_type": "click", "event_data": {"n": number, "text": "grüße \u2603"}}


if __name__ == "__main__":
    counted.main(__name__)
