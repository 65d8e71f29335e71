-- One correlation and filters on its events: the chain finds the events, then they are filtered.
SELECT
    e.event_timestamp, e.event_id, e.parent_event_date, e.duration_ms, e.retention_days,
    e.is_sensitive, e.parent_event_id, e.event_version, e.event_type, e.event_category,
    e.event_action, e.event_outcome, e.actor_type, e.actor_id, e.actor_ip,
    e.resource_type, e.resource_id, e.resource_name, e.correlation_id, e.trace_id,
    e.span_id, e.namespace, e.cluster_id, e.severity, e.error_code, e.error_message,
    e.event_metadata, e.event_data,
    c.seq, c.hash, p.hash, e.event_timestamp, e.event_id
FROM (
    SELECT k.seq, k.hash, e.*
    FROM audit_chain AS k
    JOIN audit_events AS e
        ON e.event_id = k.event_id
        AND e.event_date = (k.event_timestamp AT TIME ZONE 'UTC')::date
        AND k.correlation_id = e.correlation_id
    /* where */ /* rest */
) AS e
CROSS JOIN LATERAL (SELECT e.correlation_id, e.seq, e.hash) AS c
LEFT JOIN audit_chain AS p ON p.correlation_id = c.correlation_id AND p.seq = c.seq - 1
ORDER BY e.event_timestamp /* direction */, e.event_id /* direction */
