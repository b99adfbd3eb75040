-- Leases instead of advisory locks: rows outlast their sessions, so a pooler may give each transaction
-- another one. docs/how-scans-work.md#leases-and-slots

create table {schema}.tenant_leases (
    tenant_id text primary key,
    scan_id text not null references {schema}.scans on delete cascade,
    attempt integer not null,
    writer text not null generated always as ('hubspot_deals/' || scan_id || '/' || attempt) stored,
    expires_at timestamptz not null
);
comment on table {schema}.tenant_leases is
    'Which try of a scan reads and writes a tenant''s rows, and until when, unless it says so again';
comment on column {schema}.tenant_leases.writer is
    'How the try''s connections are called, as in staging_slots';

-- A try that was outdated while it waited for the tenant must not take it from the newer one.
create trigger refuse_outdated before insert or update on {schema}.tenant_leases
    for each statement execute function {schema}.refuse_outdated();

comment on column {schema}.staging_slots.writer is
    'Who took the slot last; it is free if that is nobody, or nobody who holds a tenant''s lease';
