"""Iceberg's own implementation, in Java: Spark with its runtime, and the REST catalog server of its tests.

The jars come from Maven by the machine's own settings, pinned in `java/`, and are kept under `target/`.
"""

import functools
import hashlib
import os
import shutil
import subprocess
import sys
import time
import unittest
import urllib.request
from pathlib import Path

import bench
from processes import environment, free_port
from pyiceberg.catalog import load_catalog

HERE = Path(__file__).resolve().parent / "java"
MAVEN_SECONDS = 600
START_SECONDS = 60
JDBC_CATALOG = "org.apache.iceberg.jdbc.JdbcCatalog"


def java():
    return _tool("java", "a Java runtime of version 17 (openjdk-17-jdk-headless on Debian)")


def _tool(name, what):
    path = shutil.which(name)
    if path is None:
        _not_checked(f"{name} is not on the PATH: this check needs {what}")
    return path


def _not_checked(why):
    """The other checks do without. Whoever runs them is told."""
    print(f"NOT CHECKED: {why}", file=sys.stderr)
    raise unittest.SkipTest(why)


def jars(name):
    """The folder with the jars of `java/NAME.xml`; fetched if one is missing or not the one that is pinned."""
    folder = bench.TARGET / "interop-java" / name
    if _whole(name, folder):
        return folder
    maven = _tool("mvn", "Maven to fetch Iceberg's jars (maven on Debian)")
    shutil.rmtree(folder, ignore_errors=True)
    command = [maven, "-q", "-B", "-f", str(HERE / f"{name}.xml"), "dependency:copy-dependencies"]
    command.append(f"-DoutputDirectory={folder}")
    run = subprocess.run(command, capture_output=True, text=True, timeout=MAVEN_SECONDS, check=False)
    if run.returncode != 0:
        _not_checked(f"{' '.join(command)} ended with {run.returncode}\n{run.stdout}\n{run.stderr}")
    if not _whole(name, folder):
        raise AssertionError(f"the jars in {folder} are not those of {HERE / 'jars.sha256'}")
    return folder


def _whole(name, folder):
    lines = (line.split() for line in (HERE / "jars.sha256").read_text().splitlines())
    wanted = {path.removeprefix(f"{name}/"): digest for digest, path in lines if path.startswith(f"{name}/")}
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.jar")}
    return found == wanted


class RestServer:
    """Iceberg's REST catalog server: every update and requirement goes through Iceberg's own code. Started in `folder`, which
    keeps its catalog and its tables; to be stopped. It listens on all interfaces and cannot be told otherwise."""

    def __init__(self, folder):
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.warehouse = f"file://{folder}/warehouse"
        self.log = folder / "rest.log"
        variables = environment() | {
            "CATALOG_REST_PORT": str(self.port),
            "CATALOG_URI": f"jdbc:sqlite:{folder}/rest.db",
            "CATALOG_JDBC_SCHEMA__VERSION": "V1",
            "CATALOG_WAREHOUSE": self.warehouse,
        }
        command = [java(), "-Xmx512m", "-cp", f"{jars('rest')}/*", "org.apache.iceberg.rest.RESTCatalogServer"]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(command, cwd=folder, env=variables, stdout=log, stderr=log)
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                urllib.request.urlopen(f"{self.uri}/v1/config", timeout=2).close()
                return
            except OSError as error:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    self.stop()
                    text = self.log.read_text()[-4000:]
                    raise AssertionError(f"the REST catalog did not start:\n{text}") from error
                time.sleep(0.2)

    def table(self, name):
        return load_catalog("rest", type="rest", uri=self.uri).load_table(name)

    def stop(self):
        self.process.kill()
        self.process.wait(10)


@functools.cache
def _spark():
    """Spark in this process. It takes seconds to start, so that all checks share it."""
    java()
    # Imported here: whoever does not ask for Spark does not need it.
    from pyspark.sql import SparkSession  # pylint: disable=import-outside-toplevel

    folder = bench.fresh_folder("spark")
    # Spark would go by the name of the machine, which may not resolve.
    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    settings = {
        "spark.jars": ",".join(str(path) for path in sorted(jars("spark").glob("*.jar"))),
        "spark.sql.extensions": "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": "1",
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        "spark.local.dir": str(folder),
        "spark.driver.memory": "1g",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
    }
    builder = SparkSession.builder.master("local[2]").appName("frazil")
    for name, value in settings.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("OFF")
    return session


class Spark:
    """Spark on the SQLite catalog of a lake's folder."""

    def __init__(self, folder):
        self.folder = folder

    def session(self):
        """A session of its own for each statement: Iceberg's JDBC catalog leaves its first look at the database open, and
        from then on neither sees what others commit nor can commit upon it."""
        session = _spark().newSession()
        session.conf.set("spark.sql.catalog.frazil", "org.apache.iceberg.spark.SparkCatalog")
        for name, value in self.catalog().items():
            session.conf.set(f"spark.sql.catalog.frazil.{name}", value)
        return session

    def catalog(self):
        return {
            "catalog-impl": JDBC_CATALOG,
            "uri": f"jdbc:sqlite:{self.folder}/catalog.db?busy_timeout=20000",
            "warehouse": f"file://{self.folder}/warehouse",
            "jdbc.schema-version": "V1",
            "cache-enabled": "false",
        }

    def sql(self, text):
        """The rows as dictionaries."""
        return [row.asDict(recursive=True) for row in self.session().sql(text).collect()]

    def column(self, text):
        """The values of the only column."""
        return [row[0] for row in self.session().sql(text).collect()]

    def iceberg(self, name):
        """The table by Iceberg's Java interface, and the virtual machine that it lives in."""
        machine = _spark()._jvm  # pylint: disable=protected-access
        properties = machine.java.util.HashMap()
        for key, value in self.catalog().items():
            properties.put(key, value)
        hadoop = machine.org.apache.hadoop.conf.Configuration()
        catalog = machine.org.apache.iceberg.CatalogUtil.loadCatalog(JDBC_CATALOG, "frazil", properties, hadoop)
        return catalog.loadTable(machine.org.apache.iceberg.catalog.TableIdentifier.parse(name)), machine
