-- Windows of five minutes, one each minute, whose rate of events is off by two standard deviations from the two hours
-- before. For frazil query, on the table of tables/kafka_user_events.json (docs/kafka.md), or any with these columns.
-- Corrected: `partition_date = CURRENT_DATE` compares text with a date, which Athena refuses and Spark does by casting
-- the column, so that no partition is pruned; and it misses what was processed just before midnight. Here text is
-- compared with text, two days wide.
-- Corrected: window() is Spark's. Here events are counted by minute, and each minute counts in the five windows that
-- it lies in.
-- Corrected: windows that are not over yet, and so lack events, were LOW. Events that are late still are missing: keep
-- the end of the last window further away than your latency. A window without any event of a type has no row.
WITH minutes AS (
    SELECT event_type, date_trunc('minute', "timestamp") AS minute, count(*) AS events
    FROM streaming_analytics.user_events
    WHERE partition_date >= to_char(current_timestamp - INTERVAL '1' DAY, '%Y-%m-%d')
      AND "timestamp" >= current_timestamp - INTERVAL '2' HOUR
    GROUP BY event_type, date_trunc('minute', "timestamp")
),
event_rates AS (
    SELECT
        minute - step AS window_start,
        event_type,
        sum(events) / 300e0 AS events_per_second
    FROM minutes
    CROSS JOIN (
        VALUES (INTERVAL '0' MINUTE), (INTERVAL '1' MINUTE), (INTERVAL '2' MINUTE), (INTERVAL '3' MINUTE), (INTERVAL '4' MINUTE)
    ) AS steps (step)
    GROUP BY minute - step, event_type
),
historical_avg AS (
    SELECT
        event_type,
        avg(events_per_second) AS avg_rate,
        stddev(events_per_second) AS stddev_rate
    FROM event_rates
    WHERE window_start >= current_timestamp - INTERVAL '2' HOUR
      AND window_start < current_timestamp - INTERVAL '30' MINUTE
    GROUP BY event_type
)
SELECT
    er.event_type,
    er.window_start,
    er.events_per_second AS current_rate,
    ha.avg_rate AS historical_avg_rate,
    CASE
        WHEN er.events_per_second > ha.avg_rate + 2 * ha.stddev_rate THEN 'HIGH'
        WHEN er.events_per_second < ha.avg_rate - 2 * ha.stddev_rate THEN 'LOW'
        ELSE 'NORMAL'
    END AS anomaly_status
FROM event_rates er
JOIN historical_avg ha ON er.event_type = ha.event_type
WHERE er.window_start >= current_timestamp - INTERVAL '30' MINUTE
  AND er.window_start <= current_timestamp - INTERVAL '5' MINUTE
ORDER BY er.window_start DESC, er.event_type NULLS LAST
