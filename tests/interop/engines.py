"""Two readers of one table: PyIceberg through the SQLite catalog, DuckDB through the metadata file."""

import importlib.util
from pathlib import Path

import duckdb
from pyiceberg.catalog import load_catalog


def load_table(warehouse, name):
    """The table as PyIceberg finds it in the catalog `frazil` of a replay's folder."""
    catalog = load_catalog(
        "frazil",
        type="sql",
        uri=f"sqlite:///{warehouse}/catalog.db",
        warehouse=f"file://{warehouse}/warehouse",
    )
    return catalog.load_table(name)


def connect():
    """DuckDB with the extensions that came as wheels: nothing is downloaded."""
    connection = duckdb.connect(config={"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"})
    for extension in ("avro", "iceberg"):
        package = importlib.util.find_spec(f"duckdb_extension_{extension}").submodule_search_locations[0]
        path = Path(package) / "extensions" / f"v{duckdb.__version__}" / f"{extension}.duckdb_extension"
        connection.execute(f"LOAD '{path}'")
    return connection


class DuckTable:
    """One Iceberg table in DuckDB, read at one metadata file."""

    def __init__(self, metadata_location):
        self.connection = connect()
        path = metadata_location.removeprefix("file://")
        codec = "gzip" if path.endswith(".gz.metadata.json") else "none"
        scan = f"iceberg_scan({quoted(path)}, metadata_compression_codec = '{codec}')"
        self.connection.execute(f"CREATE VIEW t AS SELECT * FROM {scan}")

    def rows(self, columns="*", where="true"):
        """Dictionaries, by way of Arrow, so that both engines hand out the same Python types."""
        return self.connection.execute(f"SELECT {columns} FROM t WHERE {where}").to_arrow_table().to_pylist()

    def value(self, expression, where="true"):
        return self.connection.execute(f"SELECT {expression} FROM t WHERE {where}").fetchone()[0]

    def count(self, where="true"):
        return self.value("count(*)", where)

    def close(self):
        self.connection.close()


def quoted(text):
    """A string as an SQL literal. Filters are written out: a literal is pushed down to the file statistics."""
    return "'" + text.replace("'", "''") + "'"
