-- The last hour of the view real_time_metrics, put into the table real_time_metrics_by_minute: a minute that is there
-- is replaced. Run it every few minutes, one at a time. For Athena.
-- Whole minutes only: the hour begins on one, else its first minute would lose events. Event type and device may be
-- null, and null is the same as null here.
-- The table: minute_window timestamp, in UTC; event_type and device_type text; event_count and unique_users 64-bit;
-- avg_duration double.
MERGE INTO streaming_analytics.real_time_metrics_by_minute AS target
USING (
    SELECT minute_window, event_type, device_type, event_count, unique_users, avg_duration
    FROM streaming_analytics.real_time_metrics
    WHERE minute_window >= date_trunc('minute', current_timestamp - INTERVAL '1' HOUR)
) AS source
ON target.minute_window = source.minute_window
    AND target.event_type IS NOT DISTINCT FROM source.event_type
    AND target.device_type IS NOT DISTINCT FROM source.device_type
WHEN MATCHED THEN UPDATE SET
    event_count = source.event_count,
    unique_users = source.unique_users,
    avg_duration = source.avg_duration
WHEN NOT MATCHED THEN INSERT (minute_window, event_type, device_type, event_count, unique_users, avg_duration)
    VALUES (
        source.minute_window, source.event_type, source.device_type,
        source.event_count, source.unique_users, source.avg_duration
    )
