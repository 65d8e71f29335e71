-- The audit trail: events, the chain that makes them tamper-evident, and the heads of the chains.
-- Every statement is plain SQL, so that a database administrator can read and run it by hand.

-- What the service is while it works. It owns nothing and cannot change what is written.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'kubernaut_datastorage') THEN
        CREATE ROLE kubernaut_datastorage NOLOGIN;
    END IF;
END
$$;

-- Columns in order of alignment: eight bytes, sixteen unaligned, four, one, then texts.
CREATE TABLE audit_events (
    event_timestamp   timestamptz  NOT NULL,
    event_id          uuid         NOT NULL,
    event_date        date         NOT NULL,
    parent_event_date date,
    duration_ms       integer,
    retention_days    integer      NOT NULL CHECK (retention_days BETWEEN 1 AND 2555),
    is_sensitive      boolean      NOT NULL,
    parent_event_id   uuid,
    event_version     varchar(10)  NOT NULL,
    event_type        varchar(100) COLLATE "C" NOT NULL,
    event_category    varchar(50)  COLLATE "C" NOT NULL,
    event_action      varchar(50)  COLLATE "C" NOT NULL,
    event_outcome     varchar(20)  COLLATE "C" NOT NULL,
    actor_type        varchar(50)  NOT NULL,
    actor_id          varchar(255) NOT NULL,
    actor_ip          inet,
    resource_type     varchar(100) NOT NULL,
    resource_id       varchar(255) NOT NULL,
    resource_name     varchar(255),
    correlation_id    varchar(255) COLLATE "C" NOT NULL,
    trace_id          varchar(255),
    span_id           varchar(255),
    namespace         varchar(253),
    cluster_id        varchar(255),
    severity          varchar(20)  COLLATE "C",
    error_code        varchar(50),
    error_message     text,
    event_metadata    json,
    event_data        json         NOT NULL,
    PRIMARY KEY (event_id, event_date),
    -- The chain finds an event by this date, so the two must never disagree.
    CONSTRAINT event_date_is_utc_date
        CHECK (event_date = (event_timestamp AT TIME ZONE 'UTC')::date)
) PARTITION BY RANGE (event_date);

CREATE INDEX audit_events_by_time ON audit_events (event_timestamp, event_id);
CREATE INDEX audit_events_by_type ON audit_events (event_type, event_timestamp, event_id);

COMMENT ON TABLE audit_events IS 'Audit events, append-only, one partition per UTC month';
COMMENT ON COLUMN audit_events.event_data IS 'The payload, byte for byte as it was sent';
COMMENT ON COLUMN audit_events.event_metadata IS 'Members of the sent event that have no column';

CREATE TABLE audit_chain (
    seq             bigint       NOT NULL CHECK (seq > 0),
    event_timestamp timestamptz  NOT NULL,
    event_id        uuid         NOT NULL,
    correlation_id  varchar(255) COLLATE "C" NOT NULL,
    hash            bytea        NOT NULL CHECK (octet_length(hash) = 32),
    event_digest    bytea        NOT NULL CHECK (octet_length(event_digest) = 32),
    request_digest  bytea        NOT NULL CHECK (octet_length(request_digest) = 16),
    PRIMARY KEY (correlation_id, seq),
    -- event_id leads, because it is time-ordered: this index grows at its right edge.
    UNIQUE (event_id, correlation_id)
);

COMMENT ON TABLE audit_chain IS
    'Per correlation_id: event after event, each hash covering the one before it';

CREATE TABLE chain_head (
    seq            bigint       NOT NULL,
    correlation_id varchar(255) COLLATE "C" PRIMARY KEY,
    hash           bytea        NOT NULL CHECK (octet_length(hash) = 32)
) WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.05);

COMMENT ON TABLE chain_head IS 'The newest seq and hash of each chain; its row is the lock';

-- Append-only, for everybody, whatever their grants.
CREATE FUNCTION audit_refuse_change() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% on %: the audit trail is append-only', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation';
END
$$;

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON audit_events
    FOR EACH ROW EXECUTE FUNCTION audit_refuse_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON audit_events
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON audit_chain
    FOR EACH ROW EXECUTE FUNCTION audit_refuse_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON audit_chain
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change();
CREATE TRIGGER keep_heads BEFORE DELETE ON chain_head
    FOR EACH ROW EXECUTE FUNCTION audit_refuse_change();
CREATE TRIGGER keep_heads_truncate BEFORE TRUNCATE ON chain_head
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change();

-- Makes the partition of a day's month where it is missing. Runs as its owner, since the service
-- may create nothing. CREATE, then ATTACH: that lets writers of other months go on meanwhile.
CREATE FUNCTION audit_ensure_partition(day date) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    first date := date_trunc('month', day)::date;
    name  text := 'audit_events_' || to_char(first, 'YYYY_MM');
BEGIN
    IF day < DATE '1970-01-01' OR day > (now() AT TIME ZONE 'UTC')::date + 62 THEN
        RAISE EXCEPTION 'no partition is made for %', day USING ERRCODE = 'datetime_field_overflow';
    END IF;
    IF to_regclass('public.' || name) IS NOT NULL THEN
        RETURN name;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('kubernaut.audit_ensure_partition'));
    -- Now a look at the catalogue itself: to_regclass() answers from what this session remembers,
    -- and may miss a partition that another one made while this one waited for the lock.
    IF EXISTS (
        SELECT FROM pg_class WHERE relname = name AND relnamespace = 'public'::regnamespace
    ) THEN
        RETURN name;
    END IF;
    EXECUTE format('CREATE TABLE public.%I (LIKE public.audit_events'
                   ' INCLUDING CONSTRAINTS INCLUDING COMMENTS INCLUDING STORAGE)', name);
    EXECUTE format('ALTER TABLE public.audit_events ATTACH PARTITION public.%I'
                   ' FOR VALUES FROM (%L) TO (%L)',
                   name, first, (first + INTERVAL '1 month')::date);
    -- A TRUNCATE trigger on the parent does not fire for a partition truncated by name.
    EXECUTE format('CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON public.%I'
                   ' FOR EACH STATEMENT EXECUTE FUNCTION public.audit_refuse_change()', name);
    RETURN name;
END
$$;

-- One round trip at the start of a write: makes missing heads, locks all of them in sorted order
-- (so that writers wait for each other and never deadlock), and answers with the heads
-- (event_id null) and with the events of the asked ids that are stored already, also under another
-- correlation.
CREATE FUNCTION audit_lock_heads(correlations text[], event_ids uuid[])
RETURNS TABLE (correlation_id text, seq bigint, hash bytea, event_id uuid, request_digest bytea)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    INSERT INTO public.chain_head AS h (correlation_id, seq, hash)
        SELECT c, 0, decode(repeat('00', 32), 'hex')
        FROM unnest(correlations) AS c ORDER BY c COLLATE "C"
        ON CONFLICT (correlation_id) DO NOTHING;
    RETURN QUERY
        SELECT h.correlation_id::text, h.seq, h.hash, NULL::uuid, NULL::bytea
        FROM public.chain_head AS h
        WHERE h.correlation_id = ANY (correlations)
        ORDER BY h.correlation_id FOR NO KEY UPDATE;
    RETURN QUERY
        SELECT c.correlation_id::text, c.seq, NULL::bytea, c.event_id, c.request_digest
        FROM public.audit_chain AS c WHERE c.event_id = ANY (event_ids);
END
$$;

REVOKE ALL ON FUNCTION audit_ensure_partition(date) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION audit_ensure_partition(date) TO kubernaut_datastorage;
GRANT EXECUTE ON FUNCTION audit_lock_heads(text[], uuid[]) TO kubernaut_datastorage;
GRANT SELECT, INSERT ON audit_events, audit_chain TO kubernaut_datastorage;
GRANT SELECT, INSERT, UPDATE ON chain_head TO kubernaut_datastorage;
GRANT SELECT ON alembic_version TO kubernaut_datastorage;
GRANT USAGE ON SCHEMA public TO kubernaut_datastorage;
