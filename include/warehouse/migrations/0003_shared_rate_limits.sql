-- Rate limits that all processes keep together, and scans that wait for HubSpot.
-- docs/database-schema.md explains every table and column.

create table {schema}.rate_limits (
    limiter text primary key,
    revision bigint not null default 0,
    requests_per_window integer,
    window_s float8,
    last_slot_at timestamptz not null default 'epoch',
    held_until timestamptz not null default 'epoch',
    used_by_others integer not null default 0,
    others_until timestamptz not null default 'epoch',
    start_permits integer not null default 0,
    eased_until timestamptz not null default 'epoch',
    corrected_at timestamptz not null default 'epoch',
    granted integer[] not null default '{{}}',
    newest_bucket bigint not null default -1,
    updated_at timestamptz not null default now()
);
comment on table {schema}.rate_limits is
    'When the next requests may be sent, of each HubSpot app and of each account''s search';
comment on column {schema}.rate_limits.limiter is
    'app:<keyed digest of the token> or search:<account>; never a token';

alter table {schema}.scans drop constraint scans_state_check;
alter table {schema}.scans add constraint scans_state_check check (
    state in ('validating', 'extracting', 'checking', 'waiting', 'succeeded', 'failed')
);
