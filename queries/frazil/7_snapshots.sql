-- The last ten snapshots, and what each did. For frazil query, on any table.
-- Corrected: the time of a snapshot is committed_at; there is no timestamp_ms.
SELECT
    snapshot_id,
    committed_at,
    operation,
    summary
FROM streaming_analytics."user_events$snapshots"
ORDER BY committed_at DESC
LIMIT 10
