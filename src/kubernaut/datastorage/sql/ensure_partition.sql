SELECT audit_ensure_partition($1)
