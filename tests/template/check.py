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
        "DataReadFromKinesisStream.Records", "DeliveryToS3.Bytes", "DeliveryToS3.DataFreshness", "DeliveryToS3.Success",
        "IncomingBytes", "IncomingRecords", "KinesisMillisBehindLatest", "ThrottledRecords",
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


def rollbacks(template=TEMPLATE):
    """The alarms that CodeDeploy looks at; they tell nobody."""
    return {name for name, resource in template["Resources"].items()
            if resource["Type"] == "AWS::CloudWatch::Alarm" and name.endswith("RollbackAlarm")}


def parameters_of(template, value):
    """The parameters that `value` comes from, by its conditions too, but not by other resources."""
    names = set()
    for one in walk(value):
        if isinstance(one, dict):
            if "Ref" in one:
                names.add(one["Ref"])
            if isinstance(text := one.get("Fn::Sub"), (str, list)):
                names |= set(re.findall(r"\$\{(\w+)\}", text if isinstance(text, str) else text[0]))
            for condition in (one["Fn::If"][0] if "Fn::If" in one else None, one.get("Condition")):
                if isinstance(condition, str):
                    names |= parameters_of(template, template["Conditions"][condition])
    return names & set(template["Parameters"])


def translated(path):
    """The resources that SAM makes of a template whose code lies in a bucket."""
    from samtranslator.translator.transform import transform
    from samtranslator.yaml_helper import yaml_parse

    class NoPolicies:
        def load(self):
            return {}

    template = yaml_parse(read(path))
    for resource in template["Resources"].values():
        for name in {"CodeUri", "ContentUri"} & set(resource.get("Properties", {})):
            resource["Properties"][name] = f"s3://code/{resource['Properties'][name]}"
    return transform(template, {}, NoPolicies())["Resources"]


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
            function = f"{metrics[name].capitalize()}Function"
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
        # msk has a stack of its own.
        own = {name for name, function in metrics.items() if function != "msk"}
        self.assertEqual({name for space, name, _ in self.series() if space == namespace}, own)

    def test_expressions_use_series_of_their_widget(self):
        for widget in self.widgets:
            entries = [entry[-1] for entry in widget["properties"].get("metrics", []) if isinstance(entry[-1], dict)]
            ids = {entry.get("id") for entry in entries}
            for expression in (entry.get("expression", "") for entry in entries):
                if not expression.startswith("SEARCH("):
                    self.assertLessEqual(set(re.findall(r"[a-z]\w*", expression)), ids)

    def test_searches_find_what_is_emitted(self):
        metrics, namespace, dimension = emitted()
        (kind,) = re.findall(r'const KIND_DIMENSION: &str = "(.*)";', read("shared/lambda/src/metrics.rs"))
        searches = re.findall(r"SEARCH\('(.*?)', 'Sum', 300\)", self.text)
        self.assertEqual(len(searches), 1)
        schema, function, name = re.fullmatch(r'\{(.*)\} Function=\\"\$\{(\w+)\}\\" MetricName=\\"(\w+)\\"', searches[0]).groups()
        self.assertEqual((schema, function), (f"{namespace},{dimension},{kind}", "AppendFunction"))
        self.assertEqual(metrics[name], "append")
        self.assertIn(f'emit_by_kind(now_millis, "{name}"', read("functions/append/src/handler.rs"))

    def test_widgets_do_not_overlap(self):
        cells = [(x, y) for widget in self.widgets for x in range(widget["x"], widget["x"] + widget["width"])
                 for y in range(widget["y"], widget["y"] + widget["height"])]
        self.assertEqual(len(cells), len(set(cells)))
        self.assertEqual(max(x for x, _ in cells), 23)

    def test_every_alarm_that_is_always_there_is_listed(self):
        listed = {alarm for widget in self.widgets for alarm in widget["properties"].get("alarms", [])}
        always = {name for name, alarm in of_type("AWS::CloudWatch::Alarm").items() if "Condition" not in alarm}
        self.assertEqual(listed, {f"<{name}.Arn>" for name in always - rollbacks()})


class Alarms(Case):
    def setUp(self):
        self.alarms = {name: alarm["Properties"] for name, alarm in of_type("AWS::CloudWatch::Alarm").items()
                       if name not in rollbacks()}

    @staticmethod
    def metrics(alarm):
        """What an alarm looks at: namespace, name and dimensions of each metric."""
        return [value for value in walk(alarm) if isinstance(value, dict) and "MetricName" in value]

    def named(self, metric):
        """The one alarm that looks at `metric`, with an expression over it or alone."""
        (alarm,) = [alarm for alarm in self.alarms.values() if metric in [one["MetricName"] for one in self.metrics(alarm)]]
        return alarm

    def test_every_metric_is_emitted(self):
        for name, alarm in self.alarms.items():
            self.assertTrue(self.metrics(alarm), name)
            for metric in self.metrics(alarm):
                dimensions = {}
                for dimension in metric["Dimensions"]:
                    (target,) = dimension["Value"].values()
                    dimensions[dimension["Name"]] = target.split(".")[0]
                self.assert_metric(metric["Namespace"], metric["MetricName"], dimensions)

    def test_expressions_use_the_metrics_of_their_alarm(self):
        for name, alarm in self.alarms.items():
            for query in alarm.get("Metrics", []):
                ids = {one["Id"] for one in alarm["Metrics"]}
                self.assertLessEqual(set(re.findall(r"[a-z]\w*", query.get("Expression", ""))), ids, name)
            if "Metrics" in alarm:
                self.assertEqual([one["Id"] for one in alarm["Metrics"] if one.get("ReturnData", True)], ["percent"], name)

    def test_every_alarm_tells_one_severity_and_is_silent_without_data(self):
        severities = set()
        for name, alarm in self.alarms.items():
            (topic,) = alarm["AlarmActions"]
            self.assertEqual(alarm["OKActions"], [topic], name)
            severities.add(topic["Ref"])
            missing = "breaching" if name in ("NoDataAlarm", "CanaryAlarm") else "notBreaching"
            self.assertEqual(alarm["TreatMissingData"], missing, name)
        self.assertEqual(severities, set(of_type("AWS::SNS::Topic")))
        self.assertEqual(len(severities), 2)

    def test_operating_tells_the_severity_of_every_alarm(self):
        documented = dict(re.findall(r"^\| `(\w+)`.*? \| (critical|warning) \|", read("docs/operating.md"), re.MULTILINE))
        topics = {"CriticalAlarms": "critical", "Warnings": "warning"}
        self.assertEqual(documented, {name: topics[alarm["AlarmActions"][0]["Ref"]] for name, alarm in self.alarms.items()})

    def test_what_may_lose_events_or_stop_the_flow_is_an_alarm(self):
        for metric in ("ThrottledRecords", "DeliveryToS3.Success", "DeliveryToS3.DataFreshness", "ApproximateAgeOfOldestMessage"):
            self.assertEqual(self.named(metric)["AlarmActions"], [{"Ref": "CriticalAlarms"}], metric)
        no_data = self.alarms["NoDataAlarm"]
        self.assertEqual([one["MetricName"] for one in self.metrics(no_data)], ["RowsCommitted"])
        # A day is the most that an alarm can look at.
        self.assertLessEqual(PARAMETERS["NoDataAlarmHours"]["MaxValue"] * no_data["Period"], 86400)
        self.assertEqual(no_data["EvaluationPeriods"], {"Ref": "NoDataAlarmHours"})
        # SQS leaves messages out of the age that it has handed out three times, long before they are dead letters.
        failing = self.named("ObjectsFailed")
        self.assertGreater(failing["EvaluationPeriods"] * failing["Period"], 2 * properties("RawObjects")["VisibilityTimeout"])

    def test_what_is_rejected_or_fails_is_a_share_of_all(self):
        for metric in ("RecordsFailed", "RowsQuarantined", "Errors"):
            alarms = [alarm for alarm in self.alarms.values() if metric in [one["MetricName"] for one in self.metrics(alarm)]]
            self.assertTrue(alarms, metric)
            for alarm in alarms:
                (expression,) = [one["Expression"] for one in alarm["Metrics"] if "Expression" in one]
                self.assertRegex(expression, r"^100 \* \w+ / ", metric)


class Deployments(Case):
    """Versions of the functions, in both stacks: what calls them, when there is a new one, and what takes it back."""

    def stacks(self):
        for file in ("template.yaml", "kafka.yaml"):
            template = yaml.load(read(file), Loader)
            shared = template.get("Globals", {}).get("Function", {})
            functions = {}
            for name, resource in template["Resources"].items():
                if resource["Type"] == "AWS::Serverless::Function":
                    functions[name] = shared | resource["Properties"]
                    functions[name]["DeploymentPreference"] = (
                        shared.get("DeploymentPreference", {}) | resource["Properties"]["DeploymentPreference"])
            self.assertTrue(functions)
            yield template, functions

    def test_every_parameter_of_a_function_makes_a_version(self):
        for template, functions in self.stacks():
            settings = template["Resources"]["Settings"]["Properties"]
            told = set(re.findall(r"^(\w+)=\$\{\1\}$", settings["Content"]["Fn::Sub"], re.MULTILINE))
            wanted = set()
            for name, function in functions.items():
                # Neither is part of a version.
                version = {key: value for key, value in function.items()
                           if key not in ("Events", "ReservedConcurrentExecutions", "DeploymentPreference", "CodeUri")}
                wanted |= parameters_of(template, version)
                for key in ("Description", "VersionDescription"):
                    self.assertIn("settings ${Settings}", function[key]["Fn::Sub"], name)
                self.assertIs(function["AutoPublishAliasAllProperties"], True)
            self.assertEqual(told, wanted)
            # The layer has another number when a definition has changed.
            self.assertTrue(settings["Content"]["Fn::Sub"].rstrip().endswith("layer=${TableDefinitions}"))
            self.assertIs(template["Resources"]["TableDefinitions"]["Properties"]["PublishLambdaVersion"], True)

    def test_errors_of_the_new_version_alone_take_it_back(self):
        for template, functions in self.stacks():
            alarms = set()
            for name, function in functions.items():
                preference = function["DeploymentPreference"]
                (alarm,) = [one["Ref"] for one in preference["Alarms"]]
                alarms.add(alarm)
                properties = template["Resources"][alarm]["Properties"]
                self.assertEqual((properties["Namespace"], properties["MetricName"]), ("AWS/Lambda", "Errors"))
                self.assertEqual(properties["Dimensions"], [
                    {"Name": "FunctionName", "Value": {"Ref": name}},
                    {"Name": "Resource", "Value": {"Fn::Sub": f"${{{name}}}:{function['AutoPublishAlias']}"}},
                    {"Name": "ExecutedVersion", "Value": {"Fn::GetAtt": f"{name}.Version.Version"}},
                ])
                # Before there is an invocation of it, there is no alarm: what mends a failing function can be deployed.
                self.assertEqual((properties["Period"], properties["TreatMissingData"]), (60, "notBreaching"))
                self.assertNotIn("AlarmActions", properties)
                self.assertEqual(preference["Type"], {"Fn::Sub": "CodeDeployDefault.Lambda${Deployment}"})
                # Else SAM adds one with AWS's policy, which may update every alias of the account.
                self.assertEqual(preference["Role"], {"Fn::GetAtt": "DeployRole.Arn"})
            self.assertEqual(alarms, rollbacks(template))
            self.assertNotEqual(template["Parameters"]["Deployment"]["Default"], "AllAtOnce")

    def test_what_calls_a_function_calls_its_alias(self):
        for template, functions in self.stacks():
            calls = 0
            for resource in template["Resources"].values():
                if resource["Type"] == "AWS::KinesisFirehose::DeliveryStream":
                    (target,) = [one["ParameterValue"] for one in walk(resource)
                                 if isinstance(one, dict) and one.get("ParameterName") == "LambdaArn"]
                elif resource["Type"] == "AWS::Lambda::EventSourceMapping":
                    target = resource["Properties"]["FunctionName"]
                else:
                    continue
                self.assertIn(target["Ref"].removesuffix(".Alias"), functions)
                self.assertTrue(target["Ref"].endswith(".Alias"), target)
                calls += 1
            # Those of SAM are looked at below.
            self.assertEqual(calls, 1)
            self.assertEqual({function["AutoPublishAlias"] for function in functions.values()}, {"live"})

    def test_sam_makes_of_it_what_is_meant(self):
        for file in ("template.yaml", "kafka.yaml"):
            made = translated(file)
            kinds = {}
            for name, resource in made.items():
                kinds.setdefault(resource["Type"], {})[name] = resource
            functions = kinds["AWS::Lambda::Function"]
            aliases = {name.removesuffix("Aliaslive") for name in kinds["AWS::Lambda::Alias"]}
            self.assertEqual(aliases, set(functions))
            for name in functions:
                alias = made[f"{name}Aliaslive"]
                update = alias["UpdatePolicy"]["CodeDeployLambdaAliasUpdate"]
                group = made[update["DeploymentGroupName"]["Ref"]]["Properties"]
                # Of CodeDeploy's own configurations (AWS: "Working with deployment configurations in CodeDeploy").
                default = PARAMETERS["Deployment"]["Default"]
                self.assertEqual(group["DeploymentConfigName"], {"Fn::Sub": f"CodeDeployDefault.Lambda{default}"})
                self.assertEqual(group["AlarmConfiguration"]["Alarms"], [{"Name": {"Ref": name.replace("Function", "RollbackAlarm")}}])
                self.assertIn("DEPLOYMENT_STOP_ON_ALARM", group["AutoRollbackConfiguration"]["Events"])
                # The version is made anew with the settings, and an older one stays.
                version = made[alias["Properties"]["FunctionVersion"]["Fn::GetAtt"][0]]
                self.assertEqual(version["Properties"]["Description"], {"Fn::Sub": "settings ${Settings}"})
                self.assertEqual((version["DeletionPolicy"], version["UpdateReplacePolicy"]), ("Retain", "Retain"))
                self.assertNotIn("DeletionPolicy", functions[name])
            # Whatever calls a function goes by its alias.
            calls = [mapping["Properties"]["FunctionName"] for mapping in kinds["AWS::Lambda::EventSourceMapping"].values()]
            calls += [permission["Properties"]["FunctionName"] for permission in kinds.get("AWS::Lambda::Permission", {}).values()]
            calls += [target["Arn"] for rule in kinds.get("AWS::Events::Rule", {}).values()
                      for target in rule["Properties"]["Targets"] if "Ref" in target["Arn"]]
            self.assertGreaterEqual(len(calls), len(functions) - 1)
            for call in calls:
                self.assertRegex(call["Ref"], "Aliaslive$")
            # No role is added, for CodeDeploy or anything else.
            declared = yaml.load(read(file), Loader)["Resources"]
            self.assertLessEqual(set(kinds["AWS::IAM::Role"]), set(declared))

    def test_operating_and_kafka_tell_of_every_rollback(self):
        for page, (template, _) in zip(("operating", "kafka"), self.stacks(), strict=True):
            for name in rollbacks(template):
                self.assertIn(f"`{name}`", read(f"docs/{page}.md"))

    def test_deploying_says_how_to_go_back(self):
        section = read("docs/deploying.md").partition("## New versions, and back")[2].partition("\n## ")[0]
        for said in ("aws lambda update-alias", "--name live", "aws deploy stop-deployment", "`Deployment=AllAtOnce`"):
            self.assertIn(said, section)


class Canary(Case):
    """An event that is put, and a look at the table whether its row has come."""

    def test_it_is_off_by_default_and_costs_nothing_then(self):
        self.assertEqual(PARAMETERS["CanaryMinutes"]["Default"], 0)
        for name in ("CanaryRule", "CanaryRole", "CanaryAlarm"):
            self.assertIn(RESOURCES[name]["Condition"], ("Canary", "PutCanary"), name)
        look = properties("MaintainFunction")["Events"]["Freshness"]["Properties"]
        self.assertEqual(look["State"], {"Fn::If": ["Canary", "ENABLED", "DISABLED"]})

    def test_maintain_looks_at_the_table_that_the_event_goes_to(self):
        look = properties("MaintainFunction")["Events"]["Freshness"]["Properties"]
        asked = json.loads(look["Input"]["Fn::Sub"])
        (member,) = re.findall(r'const FRESHNESS: &str = "(.*)";', read("functions/maintain/src/event.rs"))
        table = properties("AppendFunction")["Environment"]["Variables"]["FRAZIL_TABLE"]["Fn::Sub"]
        self.assertEqual(asked, {member: table})

    def test_the_event_goes_into_the_stream_alone(self):
        (target,) = properties("CanaryRule")["Targets"]
        self.assertEqual((target["Arn"], target["Input"]), ({"Fn::GetAtt": "Stream.Arn"}, {"Ref": "CanaryEvent"}))
        (statement,) = properties("CanaryRole")["Policies"][0]["PolicyDocument"]["Statement"]
        self.assertEqual(statement["Resource"], target["Arn"])
        # Nobody may put into a stream that reads from another one, and a processor of Firehose wants what is compressed.
        self.assertEqual(TEMPLATE["Conditions"]["PutCanary"], {"Fn::And": [
            {"Condition": "Canary"}, {"Condition": "FromProducers"}, {"Fn::Equals": [{"Ref": "FirehoseLogProcessors"}, "off"]}]})

    def test_the_default_event_fits_the_bundled_table_and_can_be_told_apart(self):
        event = json.loads(PARAMETERS["CanaryEvent"]["Default"])
        columns = {field["name"]: field["type"] for field in json.loads(read("tables/user_events.json"))["schema"]["fields"]}
        self.assertEqual({columns[name] for name in event}, {"string"})
        for column, value in event.items():
            self.assertIn(f"{column} <> '{value}'", read("docs/operating.md"))

    def test_one_late_look_is_no_alarm_and_none_for_long_is(self):
        alarm = properties("CanaryAlarm")
        looked_at = alarm["Period"] * alarm["EvaluationPeriods"]
        longest = 60 * max(PARAMETERS["CanaryMinutes"]["AllowedValues"])
        self.assertGreater(looked_at, longest)
        # An event that waits in every buffer as long as by default is not late.
        waits = [PARAMETERS[name]["Default"] for name in ("BufferSeconds", "TransformBufferSeconds", "BatchWindowSeconds")]
        self.assertLess(longest + sum(waits), PARAMETERS["FreshnessAlarmSeconds"]["Default"])


class Queries(Case):
    """queries.yaml against queries/athena."""

    @classmethod
    def setUpClass(cls):
        cls.stack = yaml.load(read("queries.yaml"), Loader)
        cls.resources = cls.stack["Resources"]

    def text(self, name):
        """A file of queries/athena as the stack has it: its namespace and its table are parameters."""
        text = read(f"queries/athena/{name}.sql").strip()
        text = text.replace('"streaming_analytics"."user_events', '"${Database}"."${Table}')
        return text.replace("streaming_analytics.user_events", "${Database}.${Table}").replace("streaming_analytics.", "${Database}.")

    def test_named_queries_are_the_files(self):
        named = {}
        for resource in self.resources.values():
            if resource["Type"] == "AWS::Athena::NamedQuery":
                name = resource["Properties"]["Name"]["Fn::Sub"].removeprefix("${AWS::StackName}-").replace("-", "_")
                named[name] = resource["Properties"]["QueryString"]["Fn::Sub"].strip()
        files = {path.stem for path in (REPOSITORY / "queries/athena").glob("*.sql")}
        # That view is for tables of template.yaml.
        self.assertEqual(named, {name: self.text(name) for name in files - {"user_events_once"}})

    def test_the_view_is_the_file(self):
        view = self.resources["RealTimeMetricsView"]["Properties"]["TableInput"]
        _, encoded = view["ViewOriginalText"]["Fn::Sub"]
        body = json.loads(encoded["Encoded"]["Fn::Base64"]["Fn::Sub"])
        text = "\n".join(line for line in self.text("6_real_time_metrics").split("\n") if not line.startswith("--"))
        self.assertEqual(body["originalSql"], " ".join(text.split(" AS\n", 1)[1].split()))
        columns = view["StorageDescriptor"]["Columns"]
        self.assertEqual([column["name"] for column in body["columns"]], [column["Name"] for column in columns])
        selected = text.split("SELECT\n", 1)[1].split("\nFROM", 1)[0]
        self.assertEqual([column["Name"] for column in columns], re.findall(r"(\w+),?$", selected, re.MULTILINE))

    def test_the_dashboard_shows_what_is_measured(self):
        definition = json.dumps(self.resources["Measure"]["Properties"]["Definition"])
        body = self.resources["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
        widgets = json.loads(re.sub(r"\$\{(.*?)\}", r"<\1>", body))["widgets"]
        shown = {entry[1] for widget in widgets for entry in widget["properties"]["metrics"]}
        (names,) = re.findall(r"\$names := \[(.*?)\]", definition)
        names = re.findall(r'\\"(\w*)\\"', names)
        measured = {*filter(None, names)} | set(re.findall(r'\$metric\(\\"(\w+)', definition))
        measured |= set(re.findall(r'MetricName\\": \\"(\w+)', definition))
        self.assertEqual(shown, measured)
        # The places of the columns in the query.
        columns = re.findall(r"AS (\w+)[,\n]", self.text("5_key_metrics").split("SELECT", 1)[1])
        self.assertEqual(len(columns), len(names))
        for column, name in zip(columns, names, strict=True):
            if name:
                self.assertEqual(name[:5].lower(), column.replace("avg_", "").replace("_", "")[:5], column)
        self.assertEqual(columns[10], "newest_processed_record")

    def test_nothing_runs_by_default(self):
        self.assertEqual(self.stack["Parameters"]["EveryMinutes"]["Default"], 0)
        for name in ("Measure", "Schedule", "Dashboard", "RealTimeMetricsTable"):
            self.assertEqual(self.resources[name]["Condition"], "Scheduled", name)

    def test_deploying_has_every_parameter(self):
        section = read("docs/deploying.md").partition("## Queries on a schedule")[2].partition("\n## ")[0]
        self.assertEqual(re.findall(r"^- `(\w+)`", section, re.MULTILINE), list(self.stack["Parameters"]))


class Documents(Case):
    def test_operating_has_every_kind_of_error(self):
        names = re.findall(r'Self::\w+ => "(\w+)",', read("shared/lake/src/error.rs"))
        section = read("docs/operating.md").split("### What kind of error", 1)[1].split("\n## ", 1)[0]
        self.assertGreater(len(names), 5)
        self.assertEqual(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE), names)

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


    def test_the_readme_deploys_the_sample_and_promises_no_more_than_it_keeps(self):
        readme = " ".join(read("README.md").split())
        for said in ("TableDefinition=user_events.json", "aws-sam-cli>=1.170", "each delivered object once",
                     "queries/athena/user_events_once.sql", "sam local invoke AppendFunction"):
            self.assertTrue(said in readme, said)
        self.assertTrue(re.search(r"first build takes .{0,40}minutes", readme))
        self.assertFalse("Every event is in the table once" in readme)

    def test_a_view_drops_rows_with_an_id_that_is_there_already(self):
        query = read("queries/athena/user_events_once.sql")
        columns = [column["name"] for column in json.loads(read("tables/user_events.json"))["schema"]["fields"]]
        listed = re.search(r"AS\nSELECT\n(.*?)\nFROM", query, re.DOTALL)[1]
        self.assertEqual(re.findall(r"(\w+)(?:,|$)", listed, re.MULTILINE), columns)
        self.assertRegex(query, r"row_number\(\) OVER \(\s+PARTITION BY [^)]*\brecord_id\b")

    def test_deploying_says_what_becomes_of_buffered_records(self):
        text = read("docs/deploying.md")
        _, _, section = text.partition("## Renaming or deleting the stream")
        for word in ("StreamName", "BufferSeconds", "TransformBufferSeconds", "lost"):
            self.assertTrue(word in section, word)

    def test_operating_redrives_the_dead_letters(self):
        text = " ".join(read("docs/operating.md").split())
        self.assertTrue(re.search(r"aws sqs start-message-move-task .{0,40}--source-arn \S+ .{0,40}--destination-arn \S+", text))
        for name in ("DeadLetterQueueArn", " `QueueArn"):
            self.assertTrue(name in text, name)


class Local(Case):
    """`sam local invoke`, as far as it goes without Docker: what it would start, and with which variables."""

    def functions(self, **parameters):
        from samcli.lib.providers.sam_function_provider import SamFunctionProvider
        from samcli.lib.providers.sam_stack_provider import SamLocalStackProvider

        stacks, _ = SamLocalStackProvider.get_stacks(str(REPOSITORY / "template.yaml"), parameter_overrides=parameters)
        return SamFunctionProvider(stacks)

    def variables(self, function):
        from samcli.local.lambdafn.env_vars import EnvironmentVariables

        return EnvironmentVariables(function.name, function.memory, function.timeout, function.handler,
                                    variables=function.environment["Variables"]).resolve()

    def test_layers_are_folders_of_the_repository(self):
        (layer,) = self.functions().get("AppendFunction").layers
        self.assertEqual((layer.name, layer.codeuri), ("TableDefinitions", str(REPOSITORY / "tables")))

    def test_variables_are_what_the_functions_take(self):
        append = self.variables(self.functions(TableDefinition="user_events.json").get("AppendFunction"))
        self.assertEqual(append["FRAZIL_TABLE_DEFINITION"], "/opt/user_events.json")
        self.assertEqual(append["FRAZIL_CATALOG"], "glue")
        self.assertRegex(append["FRAZIL_WAREHOUSE"], "^s3://")
        self.assertEqual(append["FRAZIL_GLUE_OPTIMIZER_ROLE"], "") # no ARN: nothing is attached
        self.assertEqual(self.variables(self.functions().get("AppendFunction"))["FRAZIL_TABLE_DEFINITION"], "")
        self.assertEqual(self.variables(self.functions().get("TransformFunction"))["FRAZIL_LOG"], "warn")

    def test_the_documented_variables_are_declared(self):
        # SAM hands over no variable that the template does not declare.
        documented = json.loads(read("sam-local.json.example"))
        for name, variables in documented.items():
            declared = properties(name)["Environment"]["Variables"]
            self.assertLessEqual(set(variables), set(declared))
            self.assertNotIn("", variables.values())


class Rules(Case):
    def test_a_message_is_hidden_for_as_long_as_it_may_be_worked_on(self):
        window = PARAMETERS["BatchWindowSeconds"]["MaxValue"]
        hidden = properties("RawObjects")["VisibilityTimeout"]
        self.assertGreaterEqual(hidden, 6 * properties("AppendFunction")["Timeout"] + window)
        # A message has all its attempts, and time to spare in case append does not keep up, before the queue drops it. They
        # last longer than an outage that somebody mends on the next morning.
        attempts = properties("RawObjects")["RedrivePolicy"]["maxReceiveCount"]
        self.assertEqual(attempts, 20)
        self.assertLess(attempts * (hidden + window), properties("RawObjects")["MessageRetentionPeriod"] / 2)
        self.assertGreater(attempts * hidden, 10 * 3600)
        # One failed attempt alone is no alarm.
        self.assertGreater(properties("OldestMessageAlarm")["Threshold"], hidden + window)

    def test_a_batch_over_ten_has_a_window_and_is_answered_by_message(self):
        source = properties("AppendFunction")["Events"]["RawObjects"]["Properties"]
        condition, at_once, batch = source["BatchSize"]["Fn::If"]
        self.assertEqual(TEMPLATE["Conditions"][condition], {"Fn::Equals": [{"Ref": "BatchWindowSeconds"}, 0]})
        self.assertEqual(at_once, 10)
        self.assertGreater(batch, 10)
        self.assertEqual(source["FunctionResponseTypes"], ["ReportBatchItemFailures"])
        # What is reserved is what the queue may use: neither throttled nor idle.
        concurrency = {"Ref": "AppendConcurrency"}
        self.assertEqual(source["ScalingConfig"]["MaximumConcurrency"], concurrency)
        self.assertIn(concurrency, walk(properties("AppendFunction")["ReservedConcurrentExecutions"]))

    def test_snapshots_outlive_messages(self):
        queue, dead = (properties(name)["MessageRetentionPeriod"] / 86400 for name in ("RawObjects", "RawObjectsDead"))
        # A message's age goes on in the dead-letter queue: what comes there late must have days left.
        self.assertEqual((queue, dead), (10, 14))
        self.assertGreater(self.optimizers()["SNAPSHOT_DAYS"], dead)
        # Redriven on its last day, a message lives through both queues; its object must, too.
        self.assertTrue(all(kept == 0 or kept >= 2 * dead for kept in PARAMETERS["RawRetentionDays"]["AllowedValues"]))

    @staticmethod
    def optimizers():
        code = read("shared/lake/src/catalog/glue/optimizers.rs")
        return {name: int(value) for name, value in re.findall(r"^const (\w+): i32 = (\d+);", code, re.MULTILINE)}

    def test_append_attaches_the_optimizers_from_the_first_deployment(self):
        self.assertEqual(PARAMETERS["TableOptimizers"]["Default"], "on")
        # CloudFormation could attach them in a second deployment only, when the table is there.
        self.assertFalse(of_type("AWS::Glue::TableOptimizer"))
        condition, role, _ = properties("AppendFunction")["Environment"]["Variables"]["FRAZIL_GLUE_OPTIMIZER_ROLE"]["Fn::If"]
        self.assertEqual(role, {"Fn::GetAtt": "OptimizerRole.Arn"})
        self.assertEqual(RESOURCES["OptimizerRole"]["Condition"], condition)
        # Not to a table that others made, whose snapshots they may want to keep.
        self.assertIn({"Condition": "MakeTable"}, TEMPLATE["Conditions"][condition]["Fn::And"])
        granted = {value["Action"]: value for value in walk(properties("AppendRole")) if isinstance(value, dict)
                   and isinstance(value.get("Action"), str)}
        self.assertEqual(granted["glue:CreateTableOptimizer"]["Resource"], granted["glue:CreateTable"]["Resource"])
        self.assertEqual(granted["iam:PassRole"]["Resource"], role)
        self.assertEqual(granted["iam:PassRole"]["Condition"], {"StringEquals": {"iam:PassedToService": "glue.amazonaws.com"}})
        numbers = self.optimizers()
        self.assertEqual(numbers["MIN_INPUT_FILES"], 5) # Glue's default is 100
        self.assertGreater(numbers["ORPHAN_DAYS"] * 86400, 2 * 900) # no invocation is longer than 15 minutes

    def test_a_failed_first_deployment_leaves_nothing_in_the_way_of_the_next(self):
        kept = {name for name, resource in RESOURCES.items() if resource.get("DeletionPolicy", "Delete") != "Delete"}
        expected = {*of_type("AWS::S3::Bucket"), *of_type("AWS::Glue::Database"), "RawObjectsDead", "OptimizerRole"}
        self.assertEqual(kept, expected)
        for name in kept:
            self.assertEqual(RESOURCES[name]["DeletionPolicy"], "RetainExceptOnCreate", name)
            self.assertEqual(RESOURCES[name]["UpdateReplacePolicy"], "Retain", name)

    def test_a_new_account_can_deploy_the_defaults(self):
        self.assertEqual(PARAMETERS["ReserveConcurrency"]["Default"], "false") # its quota is 10: nothing can be reserved
        (statement,) = properties("StreamRole")["AssumeRolePolicyDocument"]["Statement"]
        self.assertEqual(statement["Condition"], {"StringEquals": {"sts:ExternalId": {"Ref": "AWS::AccountId"}}})

    def test_buffers_of_transform_are_parameters(self):
        processor = properties("Stream")["ExtendedS3DestinationConfiguration"]["ProcessingConfiguration"]["Processors"][-1]
        values = {one["ParameterName"]: one["ParameterValue"] for one in processor["Parameters"]}
        self.assertEqual(values["BufferIntervalInSeconds"], {"Ref": "TransformBufferSeconds"})
        self.assertEqual(values["BufferSizeInMBs"], {"Ref": "TransformBufferMB"})
        limits = [PARAMETERS["TransformBufferSeconds"][name] for name in ("MinValue", "MaxValue")]
        self.assertEqual(limits, [0, 900]) # AWS: "Data transformation"

    def test_processors_of_firehose_come_before_the_function(self):
        processors = properties("Stream")["ExtendedS3DestinationConfiguration"]["ProcessingConfiguration"]["Processors"]
        *own, function = processors
        self.assertEqual(function["Type"], "Lambda")
        found = [(one["Fn::If"][0], one["Fn::If"][1]["Type"], one["Fn::If"][1]["Parameters"]) for one in own]
        self.assertEqual(found, [
            ("DecompressLogs", "Decompression", [{"ParameterName": "CompressionFormat", "ParameterValue": "GZIP"}]),
            # Needs the other one (AWS: "Message extraction from CloudWatch Logs").
            ("ExtractMessages", "CloudWatchLogProcessing", [{"ParameterName": "DataMessageExtraction", "ParameterValue": "true"}]),
        ])

    def test_append_reads_definitions_of_routes_where_it_is_told(self):
        variable = properties("AppendFunction")["Environment"]["Variables"]["FRAZIL_TABLE_DEFINITIONS"]
        # Without a route append refuses it.
        self.assertEqual(variable, {"Fn::If": [
            "RouteByField", {"Fn::If": ["DefineRoutesByLayer", "/opt", {"Ref": "RouteDefinitions"}]}, {"Ref": "AWS::NoValue"}]})
        granted = [value["Fn::If"][1] for value in walk(properties("AppendRole")) if isinstance(value, dict)
                   and value.get("Fn::If", [None])[0] == "DefineRoutesInS3"]
        # Without the second a definition that is missing is one that is forbidden.
        self.assertEqual([one["Action"] for one in granted], ["s3:GetObject", "s3:ListBucket"])
        pattern = PARAMETERS["RouteDefinitions"]["AllowedPattern"]
        for value, fits in (("", True), ("tables", True), ("s3://b/f", True), ("s3://b", False), ("s3://b/f/", False)):
            self.assertEqual(bool(re.search(pattern, value)), fits, value)

    def test_both_functions_take_the_same_for_an_event(self):
        variables = [properties(name)["Environment"]["Variables"] for name in ("TransformFunction", "AppendFunction")]
        names = set(re.findall(r'"(FRAZIL_\w+)"', read("shared/lambda/src/unpack.rs").split("#[cfg(test)]")[0]))
        self.assertEqual(len(names), 5)
        for name in names:
            self.assertEqual(*[one[name] for one in variables])

    def test_what_costs_more_than_computing_is_off(self):
        for name in ("Tracing", "TransformInvocationLogs"):
            self.assertEqual(PARAMETERS[name]["Default"], "off")
        self.assertEqual(TEMPLATE["Globals"]["Function"]["Tracing"], {"Fn::If": ["Trace", "Active", "PassThrough"]})
        traces = [value["Fn::If"][0] for value in walk(RESOURCES) if isinstance(value, dict) and "Fn::If" in value
                  and isinstance(value["Fn::If"][1], dict) and value["Fn::If"][1].get("Sid") == "Traces"]
        self.assertEqual(traces, ["Trace"] * 3)
        function = properties("TransformFunction")
        self.assertEqual(function["Environment"]["Variables"]["FRAZIL_LOG"], {"Fn::If": ["LogInvocations", "info", "warn"]})
        self.assertEqual(function["LoggingConfig"]["SystemLogLevel"], {"Fn::If": ["LogInvocations", "INFO", "WARN"]})
        # append is called a thousand times less.
        self.assertNotIn("FRAZIL_LOG", properties("AppendFunction")["Environment"]["Variables"])

    def test_two_stacks_do_not_share_a_layer(self):
        for name, layer in of_type("AWS::Serverless::LayerVersion").items():
            self.assertIn("${AWS::StackName}", layer["Properties"]["LayerName"]["Fn::Sub"], name)

    def test_no_partition_is_taken_for_granted(self):
        values = [value for value in walk({key: TEMPLATE[key] for key in ("Resources", "Outputs")}) if isinstance(value, str)]
        self.assertFalse([value for value in values if re.search(r"arn:aws|console\.aws", value)])

    def test_outputs_have_the_arns_of_what_commands_take(self):
        outputs = TEMPLATE["Outputs"]
        for name in ("Stream", "RawBucket", "WarehouseBucket", "TransformFunction", "AppendFunction", "AppendRole"):
            self.assertEqual(outputs[f"{name}Arn"]["Value"], {"Fn::GetAtt": f"{name}.Arn"})
        self.assertEqual(outputs["QueueArn"]["Value"], {"Fn::GetAtt": "RawObjects.Arn"})
        self.assertEqual(outputs["QueueUrl"]["Value"], {"Ref": "RawObjects"})
        self.assertEqual(outputs["DeadLetterQueueArn"]["Value"], {"Fn::GetAtt": "RawObjectsDead.Arn"})
        for name in of_type("AWS::SNS::Topic"):
            self.assertEqual(outputs[f"{name}TopicArn"]["Value"], {"Ref": name})
        command = outputs["RedriveCommand"]["Value"]["Fn::Sub"]
        self.assertIn("start-message-move-task", command)
        self.assertIn("--source-arn ${RawObjectsDead.Arn} --destination-arn ${RawObjects.Arn}", " ".join(command.split()))

    def test_a_response_of_the_default_buffer_fits(self):
        growth, limit = 2.2, 6_291_556
        self.assertLess(PARAMETERS["TransformBufferMB"]["Default"] * 2**20 * growth, limit / 2)

    def test_notifications_announce_what_append_may_read(self):
        notifications = properties("RawBucket")["NotificationConfiguration"]
        # The queue hears from S3 always; EventBridge comes beside it.
        rules = [queue["Filter"]["S3Key"]["Rules"] for queue in notifications["QueueConfigurations"]]
        prefixes = [rule["Value"] for (rule,) in rules]
        self.assertEqual(prefixes, ["raw/", "errors/processing-failed/"])
        enabled = {"EventBridgeEnabled": True}
        self.assertEqual(notifications["EventBridgeConfiguration"],
                         {"Fn::If": ["TellEventBridge", enabled, {"Ref": "AWS::NoValue"}]})
        self.assertEqual(PARAMETERS["EventBridge"]["Default"], "off")
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

    def test_functions_are_built_with_the_catalog_that_they_are_told(self):
        for name in ("append", "maintain"):
            variables = properties(f"{name.capitalize()}Function")["Environment"]["Variables"]
            build = tomllib.loads(read(f"functions/{name}/Cargo.toml"))["package"]["metadata"]["lambda"]["build"]
            self.assertEqual(build, {"no_default_features": True, "features": [variables["FRAZIL_CATALOG"]]})

    def test_maintain_goes_by_what_append_and_firehose_are_told(self):
        append, maintain = (properties(name)["Environment"]["Variables"] for name in ("AppendFunction", "MaintainFunction"))
        for name in set(append) & set(maintain):
            self.assertEqual(append[name], maintain[name], name)
        destination = properties("Stream")["ExtendedS3DestinationConfiguration"]
        day = "%Y/%m/%d"
        folders = maintain["FRAZIL_RAW"]["Fn::Sub"].split(",")
        self.assertEqual(folders, [f"s3://${{RawBucket}}/{prefix}{day}" for prefix in ("raw/", "errors/processing-failed/")])
        for prefix in (destination["Prefix"], destination["ErrorOutputPrefix"]):
            self.assertTrue(prefix.endswith("!{timestamp:yyyy/MM/dd/HH}/"), prefix)
        # An object that append has failed with a few times is not lost yet.
        attempt = properties("RawObjects")["VisibilityTimeout"]
        self.assertGreater(int(maintain["FRAZIL_PENDING_AFTER_MINUTES"]) * 60, 3 * attempt)
        self.assertFalse([one for name in ("AppendRole", "TransformRole") for one in walk(properties(name)) if one == "s3:DeleteObject"])


class Kafka(unittest.TestCase):
    """kafka.yaml, the stack for topics."""

    @classmethod
    def setUpClass(cls):
        cls.template = yaml.load(read("kafka.yaml"), Loader)
        cls.resources = cls.template["Resources"]

    def properties(self, name):
        return self.resources[name]["Properties"]

    def test_every_metric_is_shown_and_every_one_that_is_shown_is_emitted(self):
        metrics, namespace, dimension = emitted()
        own = {name for name, function in metrics.items() if function == "msk"}
        body = json.loads(re.sub(r"\$\{(.*?)\}", r"<\1>", self.properties("Dashboard")["DashboardBody"]["Fn::Sub"]))
        series = [entry for widget in body["widgets"] for entry in widget["properties"]["metrics"]]
        self.assertEqual({name for space, name, *_ in series if space == namespace}, own)
        alarms = [alarm["Properties"] for alarm in self.resources.values() if alarm["Type"] == "AWS::CloudWatch::Alarm"]
        looked_at = [value for alarm in alarms for value in walk(alarm) if isinstance(value, dict) and "MetricName" in value]
        self.assertGreater(len(looked_at), 4)
        for metric in looked_at:
            if metric["Namespace"] == namespace:
                self.assertIn(metric["MetricName"], own)
                self.assertEqual(metric["Dimensions"], [{"Name": dimension, "Value": {"Ref": "MskFunction"}}])
            else:
                self.assertIn(metric["MetricName"], {"Errors", "OffsetLag"})

    def test_the_code_reads_every_variable(self):
        code = sources()
        for variable in self.properties("MskFunction")["Environment"]["Variables"]:
            self.assertIn(f'"{variable}"', code)

    def test_a_value_can_be_read_as_a_record_of_the_stream_is(self):
        stream = yaml.load(read("template.yaml"), Loader)
        other = stream["Resources"]["TransformFunction"]["Properties"]["Environment"]["Variables"]
        own = self.properties("MskFunction")["Environment"]["Variables"]
        parameters = {name: value["Ref"] for name, value in other.items() if isinstance(value, dict) and "Ref" in value}
        self.assertGreater(len(parameters), 4)
        for variable, parameter in parameters.items():
            self.assertEqual(own[variable], other[variable])
            mine, theirs = (template["Parameters"][parameter] for template in (self.template, stream))
            for rule in ("Type", "Default", "AllowedValues", "AllowedPattern"):
                self.assertEqual(mine.get(rule), theirs.get(rule), parameter)

    def test_the_function_is_built_with_the_catalog_that_it_is_told(self):
        build = tomllib.loads(read("functions/msk/Cargo.toml"))["package"]["metadata"]["lambda"]["build"]
        catalog = self.properties("MskFunction")["Environment"]["Variables"]["FRAZIL_CATALOG"]
        self.assertEqual(build, {"no_default_features": True, "features": [catalog]})

    def test_the_mapping_loses_nothing(self):
        mapping = self.properties("Mapping")
        self.assertEqual(mapping["StartingPosition"], "TRIM_HORIZON")
        self.assertIn("OnFailure", mapping["DestinationConfig"])
        self.assertNotIn("FilterCriteria", mapping)
        # Only provisioned mode takes names of records, and the function must know.
        self.assertEqual(mapping["FunctionResponseTypes"]["Fn::If"][0], "Provisioned")
        variables = self.properties("MskFunction")["Environment"]["Variables"]
        self.assertEqual(variables["FRAZIL_BATCH_ITEM_FAILURES"], {"Fn::If": ["Provisioned", "true", "false"]})
        self.assertLessEqual(self.properties("MskFunction")["Timeout"], 840)

    def test_nothing_is_granted_that_is_not_named(self):
        (policy,) = self.properties("MskRole")["Policies"]
        for statement in policy["PolicyDocument"]["Statement"]:
            actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
            self.assertFalse([action for action in actions if "*" in action], statement)
            if statement["Resource"] == "*":
                self.assertEqual(statement["Sid"], "NetworkOfTheMapping")

    def test_no_partition_is_taken_for_granted(self):
        values = [value for value in walk(self.resources) if isinstance(value, str)]
        self.assertFalse([value for value in values if re.search(r"arn:aws|console\.aws", value)])

    def test_the_page_tells_every_parameter_and_alarm(self):
        page = read("docs/kafka.md")
        for name in self.template["Parameters"]:
            self.assertIn(f"`{name}`", page)
        for name, resource in self.resources.items():
            if resource["Type"] == "AWS::CloudWatch::Alarm":
                self.assertIn(f"`{name}`", page)


if __name__ == "__main__":
    counted.main(__name__)
