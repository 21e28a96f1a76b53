"""template.yaml against the code that it deploys, the documents that explain it, and rules that no linter knows."""

import json
import re
import sys
import tomllib
import unittest
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.append(str(REPOSITORY / "tests"))
import counted  # noqa: E402, beside this folder

# The metrics of AWS that the stack looks at, and their dimension (Monitoring sections of the developer guides).
AWS_METRICS = {
    "AWS/Firehose": ("DeliveryStreamName", {
        "DataReadFromKinesisStream.Records", "DeliveryToS3.Bytes", "DeliveryToS3.DataFreshness", "IncomingBytes",
        "IncomingRecords", "KinesisMillisBehindLatest",
    }),
    "AWS/Lambda": ("FunctionName", {"Duration", "Errors", "Invocations", "Throttles"}),
    "AWS/SQS": ("QueueName", {
        "ApproximateAgeOfOldestMessage", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesVisible",
    }),
}


class Loader(yaml.SafeLoader):
    """Reads `!Ref x` as {"Ref": x} and `!Sub x` as {"Fn::Sub": x}."""


def intrinsic(loader, name, node):
    value = {
        yaml.ScalarNode: loader.construct_scalar,
        yaml.SequenceNode: lambda node: loader.construct_sequence(node, deep=True),
        yaml.MappingNode: lambda node: loader.construct_mapping(node, deep=True),
    }[type(node)](node)
    return {name if name in ("Ref", "Condition") else f"Fn::{name}": value}


Loader.add_multi_constructor("!", intrinsic)

TEMPLATE = yaml.load((REPOSITORY / "template.yaml").read_text(), Loader)
RESOURCES = TEMPLATE["Resources"]
PARAMETERS = TEMPLATE["Parameters"]


def of_type(kind):
    return {name: resource for name, resource in RESOURCES.items() if resource["Type"] == kind}


def properties(name):
    return RESOURCES[name]["Properties"]


def walk(value):
    """Every value in `value`, itself first."""
    yield value
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for child in children:
        yield from walk(child)


def read(path):
    return (REPOSITORY / path).read_text()


def sources():
    return "\n".join(path.read_text() for folder in ("functions", "shared") for path in (REPOSITORY / folder).rglob("*.rs"))


def emitted():
    """Which function emits which metrics, and in which namespace under which dimension."""
    text = read("shared/lambda/src/metrics.rs")
    (namespace,) = re.findall(r'const NAMESPACE: &str = "(.*)";', text)
    (dimension,) = re.findall(r'const DIMENSION: &str = "(.*)";', text)
    table = re.search(r"const METRICS: \[Metric; (\d+)\] = \[(.*?)^\];", text, re.DOTALL | re.MULTILINE)
    metrics = dict(map(reversed, re.findall(r'metric\(\s*"(\w+)",\s*"(\w+)"', table[2])))
    assert len(metrics) == int(table[1]), "the list of metrics is not written as this test reads it"
    return metrics, namespace, dimension


class Case(unittest.TestCase):
    maxDiff = None

    def assert_metric(self, namespace, name, dimensions):
        """`dimensions`: name -> the logical id of what it is the name of."""
        metrics, own_namespace, own_dimension = emitted()
        if namespace == own_namespace:
            self.assertIn(name, metrics, "no function emits it")
            function = {"transform": "TransformFunction", "append": "AppendFunction"}[metrics[name]]
            self.assertEqual(dimensions, {own_dimension: function}, name)
        else:
            dimension, names = AWS_METRICS[namespace]
            self.assertIn(name, names)
            self.assertEqual(list(dimensions), [dimension], name)


class Dashboard(Case):
    @classmethod
    def setUpClass(cls):
        cls.text = properties("Dashboard")["DashboardBody"]["Fn::Sub"]
        # A quotation mark or a backslash in a value would break the JSON: none of these can hold one.
        cls.widgets = json.loads(re.sub(r"\$\{(.*?)\}", r"<\1>", cls.text))["widgets"]

    def series(self):
        for widget in self.widgets:
            for entry in widget["properties"].get("metrics", []):
                if isinstance(entry[0], str):
                    namespace, name, dimension, value = entry[:4]
                    self.assertTrue(all(isinstance(part, str) for part in entry[:4]), entry)
                    self.assertLessEqual(len(entry), 5, entry)
                    yield namespace, name, {dimension: re.fullmatch(r"<(\w+)(\.\w+)?>", value)[1]}

    def test_placeholders_exist(self):
        for name in re.findall(r"\$\{(.*?)\}", self.text):
            self.assertTrue(name.startswith("AWS::") or name.split(".")[0] in RESOURCES.keys() | PARAMETERS.keys(), name)

    def test_every_metric_is_emitted(self):
        series = list(self.series())
        self.assertGreater(len(series), 20)
        for one in series:
            self.assert_metric(*one)

    def test_every_emitted_metric_is_shown(self):
        metrics, namespace, _ = emitted()
        self.assertEqual({name for space, name, _ in self.series() if space == namespace}, set(metrics))

    def test_expressions_use_series_of_their_widget(self):
        for widget in self.widgets:
            entries = [entry[-1] for entry in widget["properties"].get("metrics", []) if isinstance(entry[-1], dict)]
            ids = {entry.get("id") for entry in entries}
            for entry in entries:
                self.assertLessEqual(set(re.findall(r"[a-z]\w*", entry.get("expression", ""))), ids)

    def test_widgets_do_not_overlap(self):
        cells = [(x, y) for widget in self.widgets for x in range(widget["x"], widget["x"] + widget["width"])
                 for y in range(widget["y"], widget["y"] + widget["height"])]
        self.assertEqual(len(cells), len(set(cells)))
        self.assertEqual(max(x for x, _ in cells), 23)

    def test_every_alarm_that_is_always_there_is_listed(self):
        listed = {alarm for widget in self.widgets for alarm in widget["properties"].get("alarms", [])}
        always = {name for name, alarm in of_type("AWS::CloudWatch::Alarm").items() if "Condition" not in alarm}
        self.assertEqual(listed, {f"<{name}.Arn>" for name in always})


class Alarms(Case):
    def test_every_metric_is_emitted(self):
        for name, alarm in of_type("AWS::CloudWatch::Alarm").items():
            stats = [value for value in walk(alarm["Properties"]) if isinstance(value, dict) and "MetricName" in value]
            self.assertEqual(len(stats), 1, name)
            dimensions = {}
            for dimension in stats[0]["Dimensions"]:
                (target,) = dimension["Value"].values()
                dimensions[dimension["Name"]] = target.split(".")[0]
            self.assert_metric(stats[0]["Namespace"], stats[0]["MetricName"], dimensions)

    def test_every_alarm_tells_and_is_silent_without_data(self):
        for name, alarm in of_type("AWS::CloudWatch::Alarm").items():
            for actions in ("AlarmActions", "OKActions"):
                self.assertEqual(alarm["Properties"][actions], [{"Ref": "Alarms"}], name)
            self.assertEqual(alarm["Properties"]["TreatMissingData"], "notBreaching", name)


class Documents(Case):
    def test_operating_has_every_metric_and_alarm(self):
        rows = re.findall(r"^\|.*\|$", read("docs/operating.md"), re.MULTILINE)
        mentioned = set(re.findall(r"`([\w./]+)`", "\n".join(rows)))
        self.assertLessEqual(set(emitted()[0]), mentioned)
        self.assertLessEqual(set(of_type("AWS::CloudWatch::Alarm")), mentioned)

    def test_deploying_and_the_example_have_every_parameter(self):
        documented = re.findall(r"^\| `(\w+)` \| (.*?) \|", read("docs/deploying.md"), re.MULTILINE)
        self.assertEqual([name for name, _ in documented], list(PARAMETERS))
        for name, default in documented:
            self.assertEqual(default.strip("`"), str(PARAMETERS[name]["Default"]) or "empty", name)

    def test_the_example_configuration_names_parameters_that_exist(self):
        config = tomllib.loads(read("samconfig.toml.example"))
        overrides = config["default"]["global"]["parameters"]["parameter_overrides"]
        for override in overrides:
            name, value = override.split("=", 1)
            parameter = PARAMETERS[name]
            self.assertRegex(value, f"^(?:{parameter.get('AllowedPattern', '.*')})$")
            self.assertIn(value, map(str, parameter.get("AllowedValues", [value])))
        self.assertEqual(config["default"]["deploy"]["parameters"]["capabilities"], "CAPABILITY_IAM")
        # CAPABILITY_IAM is enough as long as no role has a name.
        self.assertFalse([name for name, role in of_type("AWS::IAM::Role").items() if "RoleName" in role["Properties"]])


class Rules(Case):
    def test_a_message_is_hidden_for_as_long_as_it_may_be_worked_on(self):
        window = PARAMETERS["BatchWindowSeconds"]["MaxValue"]
        hidden = properties("RawObjects")["VisibilityTimeout"]
        self.assertGreaterEqual(hidden, 6 * properties("AppendFunction")["Timeout"] + window)
        self.assertGreaterEqual(properties("RawObjects")["RedrivePolicy"]["maxReceiveCount"], 5)
        # One failed attempt alone is no alarm.
        self.assertGreater(properties("OldestMessageAlarm")["Threshold"], hidden + window)

    def test_a_batch_over_ten_has_a_window_and_is_answered_by_message(self):
        source = properties("AppendFunction")["Events"]["RawObjects"]["Properties"]
        self.assertGreaterEqual(PARAMETERS["BatchWindowSeconds"]["MinValue"], 1)
        self.assertGreater(source["BatchSize"], 10)
        self.assertEqual(source["FunctionResponseTypes"], ["ReportBatchItemFailures"])
        # What is reserved is what the queue may use: neither throttled nor idle.
        concurrency = {"Ref": "AppendConcurrency"}
        self.assertEqual(source["ScalingConfig"]["MaximumConcurrency"], concurrency)
        self.assertIn(concurrency, walk(properties("AppendFunction")["ReservedConcurrentExecutions"]))

    def test_snapshots_outlive_messages(self):
        days = properties("SnapshotRetention")["TableOptimizerConfiguration"]["RetentionConfiguration"]
        days = days["IcebergConfiguration"]["SnapshotRetentionPeriodInDays"]
        for queue in ("RawObjects", "RawObjectsDead"):
            self.assertEqual(properties(queue)["MessageRetentionPeriod"], 14 * 86400)
        self.assertGreater(days, 14)
        # Redriven on its last day, a message lives through both queues; its object must, too.
        self.assertTrue(all(kept == 0 or kept >= 2 * 14 for kept in PARAMETERS["RawRetentionDays"]["AllowedValues"]))

    def test_a_response_of_the_default_buffer_fits(self):
        growth, limit = 2.2, 6_291_556
        self.assertLess(PARAMETERS["TransformBufferMB"]["Default"] * 2**20 * growth, limit / 2)

    def test_notifications_of_both_kinds_announce_what_append_may_read(self):
        _, by_rule, by_bucket = properties("RawBucket")["NotificationConfiguration"]["Fn::If"]
        self.assertEqual(by_rule, {"EventBridgeConfiguration": {"EventBridgeEnabled": True}})
        rules = [queue["Filter"]["S3Key"]["Rules"] for queue in by_bucket["QueueConfigurations"]]
        prefixes = [rule["Value"] for (rule,) in rules]
        self.assertEqual(prefixes, ["raw/", "errors/processing-failed/"])
        keys = properties("RawObjectsRule")["EventPattern"]["detail"]["object"]["key"]
        self.assertEqual([key["prefix"] for key in keys], prefixes)
        (statement,) = [one for one in walk(properties("AppendRole"))
                        if isinstance(one, dict) and one.get("Sid") == "ReadRawObjects"]
        self.assertEqual([arn["Fn::Sub"].split("${AWS::Region}/")[1] for arn in statement["Resource"]],
                         [f"{prefix}*" for prefix in prefixes])
        destination = properties("Stream")["ExtendedS3DestinationConfiguration"]
        self.assertTrue(destination["Prefix"].startswith("raw/"))
        self.assertTrue(destination["ErrorOutputPrefix"].startswith("errors/!{firehose:error-output-type}/"))

    def test_nothing_is_granted_that_is_not_named(self):
        documents = [policy["PolicyDocument"] for role in of_type("AWS::IAM::Role").values()
                     for policy in role["Properties"]["Policies"]]
        documents += [resource["Properties"]["PolicyDocument"] for resource in RESOURCES.values()
                      if "PolicyDocument" in resource["Properties"]]
        statements = [value for document in documents for value in walk(document)
                      if isinstance(value, dict) and value.get("Effect") == "Allow"]
        self.assertGreater(len(statements), 20)
        for statement in statements:
            actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
            self.assertFalse([action for action in actions if "*" in action], statement)
            if statement["Resource"] == "*":
                self.assertEqual(statement["Sid"], "Traces")
        for name, function in of_type("AWS::Serverless::Function").items():
            # Without a role, SAM would add one with AWS's policies, which grant more.
            self.assertIn("Role", function["Properties"], name)
            self.assertNotIn("Policies", function["Properties"], name)

    def test_everything_that_stores_takes_the_key(self):
        for kind in ("AWS::S3::Bucket", "AWS::SQS::Queue", "AWS::SNS::Topic", "AWS::Logs::LogGroup",
                     "AWS::KinesisFirehose::DeliveryStream"):
            for name, resource in of_type(kind).items():
                if name != "AccessLogsBucket": # S3 does not deliver access logs to a bucket with SSE-KMS
                    self.assertIn({"Ref": "KmsKeyArn"}, list(walk(resource)), name)

    def test_nothing_is_reached_without_tls(self):
        denied = [value["Resource"] for value in walk(RESOURCES) if isinstance(value, dict)
                  and value.get("Condition") == {"Bool": {"aws:SecureTransport": "false"}}]
        for name in [*of_type("AWS::S3::Bucket"), *of_type("AWS::SQS::Queue"), *of_type("AWS::SNS::Topic")]:
            self.assertTrue([one for one in denied if name in json.dumps(one)], name)

    def test_the_code_reads_every_variable(self):
        code = sources()
        for name, function in of_type("AWS::Serverless::Function").items():
            for variable in function["Properties"].get("Environment", {}).get("Variables", {}):
                # S3's variables are read once there is code for S3.
                if variable.startswith("FRAZIL_S3_") and "FRAZIL_S3_" not in code:
                    continue
                self.assertIn(f'"{variable}"', code, name)

    def test_append_is_built_with_the_catalog_that_it_is_told(self):
        variables = properties("AppendFunction")["Environment"]["Variables"]
        build = tomllib.loads(read("functions/append/Cargo.toml"))["package"]["metadata"]["lambda"]["build"]
        self.assertEqual(build, {"no_default_features": True, "features": [variables["FRAZIL_CATALOG"]]})


if __name__ == "__main__":
    counted.main(__name__)
