SELECT
    c.seq, c.hash, c.event_digest, c.event_id, c.event_timestamp, e.event_id IS NOT NULL,
    e.event_timestamp, e.event_id, e.parent_event_date, e.duration_ms, e.retention_days,
    e.is_sensitive, e.parent_event_id, e.event_version, e.event_type, e.event_category,
    e.event_action, e.event_outcome, e.actor_type, e.actor_id, e.actor_ip,
    e.resource_type, e.resource_id, e.resource_name, e.correlation_id, e.trace_id,
    e.span_id, e.namespace, e.cluster_id, e.severity, e.error_code, e.error_message,
    e.event_metadata, e.event_data
FROM audit_chain AS c
LEFT JOIN audit_events AS e
    ON e.event_id = c.event_id AND e.event_date = (c.event_timestamp AT TIME ZONE 'UTC')::date
WHERE c.correlation_id = $1
ORDER BY c.seq, c.hash
