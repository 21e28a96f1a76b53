-- The last ten snapshots, and what each did. For DuckDB, on any table.
-- The view is of open.sql: DuckDB's own iceberg_snapshots() knows neither operation nor summary.
SELECT
    snapshot_id,
    committed_at,
    operation,
    summary
FROM streaming_analytics.user_events_snapshots
ORDER BY committed_at DESC
LIMIT 10
