-- The table as the other files of this folder name it. Put the path or the URI of its newest metadata file for METADATA
-- (the output of `frazil replay --json` and Glue's parameter `metadata_location` name it), and run this first; again when the
-- table has changed, or after `SET VARIABLE metadata = ...`. For DuckDB 1.5, on any table of Frazil.
--
-- An attached catalog (`ATTACH ... (TYPE iceberg, ...)`) needs of these only the last two views.
-- LOAD comes after `INSTALL avro; INSTALL iceberg` was run once.
LOAD avro;
LOAD iceberg;
LOAD json;
SET TimeZone = 'UTC';
SET VARIABLE metadata = 'METADATA';
-- The files of tables that Frazil creates are gzip; another table's may not be.
SET VARIABLE codec = CASE WHEN getvariable('metadata') LIKE '%.gz.%' THEN 'gzip' ELSE 'none' END;
CREATE SCHEMA IF NOT EXISTS streaming_analytics;

CREATE OR REPLACE VIEW streaming_analytics.user_events AS
SELECT * FROM iceberg_scan(getvariable('metadata'), metadata_compression_codec = getvariable('codec'));

-- The table as it was then.
CREATE OR REPLACE MACRO streaming_analytics.user_events_as_of(moment) AS TABLE
SELECT * FROM iceberg_scan(
    getvariable('metadata'),
    metadata_compression_codec = getvariable('codec'),
    snapshot_from_timestamp = CAST(moment AS TIMESTAMP)
);

CREATE OR REPLACE VIEW streaming_analytics.user_events_snapshots AS
SELECT
    CAST(snapshot ->> '$."snapshot-id"' AS BIGINT) AS snapshot_id,
    make_timestamptz(1000 * CAST(snapshot ->> '$."timestamp-ms"' AS BIGINT)) AS committed_at,
    snapshot ->> '$.summary.operation' AS operation,
    snapshot -> '$.summary' AS summary,
    snapshot ->> '$."manifest-list"' AS manifest_list,
    snapshot ->> '$."snapshot-id"' = (metadata ->> '$."current-snapshot-id"') AS is_current
FROM (
    SELECT json AS metadata, unnest(CAST(json -> '$.snapshots' AS JSON[])) AS snapshot
    FROM read_json_objects(getvariable('metadata'), format = 'unstructured', compression = replace(getvariable('codec'), 'none', 'uncompressed'),
        maximum_object_size = 1000000000)
) AS snapshots;

SET VARIABLE manifest_list = (SELECT manifest_list FROM streaming_analytics.user_events_snapshots WHERE is_current);
SET VARIABLE manifests = (SELECT list(manifest_path) FROM read_avro(getvariable('manifest_list')));

CREATE OR REPLACE VIEW streaming_analytics.user_events_partitions AS
SELECT
    data_file.partition AS partition,
    CAST(coalesce(sum(data_file.record_count) FILTER (data_file.content = 0), 0) AS BIGINT) AS record_count,
    count(*) FILTER (data_file.content = 0) AS file_count,
    CAST(coalesce(sum(data_file.file_size_in_bytes) FILTER (data_file.content = 0), 0) AS BIGINT) AS total_size,
    count(*) FILTER (data_file.content <> 0) AS delete_file_count
FROM read_avro(getvariable('manifests'))
WHERE status <> 2
GROUP BY data_file.partition;
