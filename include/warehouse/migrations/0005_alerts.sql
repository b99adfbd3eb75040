-- Incidents, and the alerts that go out about them; scans that a person has cancelled.
-- docs/database-schema.md explains every table and column, docs/alerts.md what is sent when.

alter table {schema}.scans drop constraint scans_state_check;
alter table {schema}.scans add constraint scans_state_check check (
    state in ('validating', 'extracting', 'checking', 'waiting', 'succeeded', 'failed', 'cancelled')
);

create table {schema}.incidents (
    incident_id bigint generated always as identity primary key,
    tenant_id text not null,
    kind text not null check (kind in ('failure', 'quality', 'warning', 'deadline', 'quota')),
    error_type text not null,
    cause text not null,
    opened_at timestamptz not null default now(),
    last_seen_at timestamptz not null default now(),
    runs integer not null default 1,
    scan_ids text[] not null,
    said text not null,
    rounds integer not null default 0,
    alerted_at timestamptz,
    closed_at timestamptz,
    closed_by_scan_id text
);
comment on table {schema}.incidents is
    'What went wrong with a tenant''s scans, once for each cause until a scan succeeds';
-- one open incident for each cause: what callbacks that run at once agree by
create unique index incidents_open on {schema}.incidents (tenant_id, kind, cause)
    where closed_at is null;
create index incidents_tenant_opened on {schema}.incidents (tenant_id, opened_at desc);

create table {schema}.alerts (
    alert_id bigint generated always as identity primary key,
    incident_id bigint not null references {schema}.incidents on delete cascade,
    tenant_id text not null,
    event text not null
        check (event in ('failure', 'quality', 'warning', 'deadline', 'quota', 'recovery')),
    round integer not null,
    channel text not null,
    message jsonb not null,
    created_at timestamptz not null default now(),
    claimed_at timestamptz,
    attempts integer not null default 0,
    sent_at timestamptz,
    error text,
    unique (incident_id, event, round, channel)
);
comment on table {schema}.alerts is
    'The outbox: every alert of an incident, for each channel, and whether it was delivered';
create index alerts_pending on {schema}.alerts (tenant_id, alert_id) where sent_at is null;
