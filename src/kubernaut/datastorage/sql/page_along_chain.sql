-- One correlation: the narrow chain finds and sorts, then only the page's events are read. A link
-- whose event is gone keeps its place, so that a page does not end the listing too early.
SELECT
    e.event_timestamp, e.event_id, e.parent_event_date, e.duration_ms, e.retention_days,
    e.is_sensitive, e.parent_event_id, e.event_version, e.event_type, e.event_category,
    e.event_action, e.event_outcome, e.actor_type, e.actor_id, e.actor_ip,
    e.resource_type, e.resource_id, e.resource_name, e.correlation_id, e.trace_id,
    e.span_id, e.namespace, e.cluster_id, e.severity, e.error_code, e.error_message,
    e.event_metadata, e.event_data,
    c.seq, c.hash, p.hash, c.event_timestamp, c.event_id
FROM (
    SELECT c.correlation_id, c.seq, c.hash, c.event_timestamp, c.event_id
    FROM audit_chain AS c /* where */ /* rest */
) AS c
LEFT JOIN audit_events AS e
    ON e.event_id = c.event_id AND e.event_date = (c.event_timestamp AT TIME ZONE 'UTC')::date
LEFT JOIN audit_chain AS p ON p.correlation_id = c.correlation_id AND p.seq = c.seq - 1
ORDER BY c.event_timestamp /* direction */, c.event_id /* direction */
