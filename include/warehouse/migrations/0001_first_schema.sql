-- What this package keeps in PostgreSQL. docs/database-schema.md explains every table and column.
-- {schema} is the schema's identifier, {schema_name} its name as a string.

create table {schema}.tenants (
    tenant_id text primary key,
    portal_id bigint not null,
    bound_at timestamptz not null default now(),
    bound_by_scan_id text not null
);
comment on table {schema}.tenants is
    'Which HubSpot account each tenant is bound to, since its first successful scan';

create table {schema}.scans (
    scan_id text primary key,
    tenant_id text not null,
    dag_id text not null,
    run_id text not null,
    attempt integer not null default 0,
    mode text not null,
    window_start timestamptz,
    window_end timestamptz,
    state text not null check (state in ('validating', 'extracting', 'checking', 'succeeded', 'failed')),
    portal_id bigint,
    pages integer not null default 0,
    deals_extracted bigint not null default 0,
    deals_loaded bigint not null default 0,
    deals_archived bigint not null default 0,
    duplicates_dropped bigint not null default 0,
    requests integer not null default 0,
    throttled integer not null default 0,
    repairs jsonb not null default '{{}}',
    misfits jsonb not null default '{{}}',
    started_at timestamptz not null default now(),
    extraction_started_at timestamptz,
    finished_at timestamptz,
    error text
);
comment on column {schema}.scans.extraction_started_at is
    'Of the last try: rows of this scan that were extracted before belong to a try that was given up';
comment on column {schema}.scans.repairs is
    'Characters and values changed so that PostgreSQL accepts them, by kind';
comment on column {schema}.scans.misfits is
    'Values that did not fit their typed column (NULL there, untouched in properties), by column';
create index scans_tenant_started on {schema}.scans (tenant_id, started_at desc);

create table {schema}.quality_results (
    scan_id text not null references {schema}.scans on delete cascade,
    tenant_id text not null,
    check_name text not null,
    status text not null check (status in ('passed', 'warned', 'failed', 'no_rows')),
    severity text not null check (severity in ('block', 'warn')),
    observed numeric,
    at_most numeric not null,
    why text not null,
    checked_at timestamptz not null default now(),
    primary key (scan_id, check_name)
);

create table {schema}.deals (
    _tenant_id text not null,
    deal_id bigint not null,
    deal_name text,
    deal_type text,
    pipeline_id text,
    stage_id text,
    owner_id text,
    amount numeric(38, 9),
    amount_in_home_currency numeric(38, 9),
    currency text,
    probability numeric(38, 9),
    forecast_category text,
    priority text,
    is_closed boolean,
    is_won boolean,
    close_date timestamptz,
    stage_entered_at timestamptz,
    created_at timestamptz,
    updated_at timestamptz,
    archived boolean not null,
    archived_at timestamptz,
    url text,
    properties jsonb not null,
    _scan_id text not null,
    _extracted_at timestamptz not null,
    primary key (_tenant_id, deal_id)
);
create index deals_tenant_updated_at on {schema}.deals (_tenant_id, updated_at);
create index deals_tenant_close_date on {schema}.deals (_tenant_id, close_date);
create index deals_tenant_stage on {schema}.deals (_tenant_id, stage_id);
create index deals_tenant_owner on {schema}.deals (_tenant_id, owner_id);
create index deals_scan on {schema}.deals (_scan_id);

create table {schema}.deal_stages (
    _tenant_id text not null,
    pipeline_id text not null,
    stage_id text not null,
    pipeline_label text not null,
    stage_label text not null,
    is_closed boolean,
    probability numeric,
    _scan_id text not null,
    primary key (_tenant_id, pipeline_id, stage_id)
);
comment on column {schema}.deal_stages._scan_id is
    'The last scan in which the portal still listed this stage';

-- dlt's own tables, as dlt 1.31 would create them. They are made here because parallel first loads
-- would race to do so, and because a loader role then needs no CREATE. The two indexes are ours.
create table {schema}._dlt_version (
    version bigint not null,
    engine_version bigint not null,
    inserted_at timestamptz not null,
    schema_name varchar not null,
    version_hash varchar not null,
    schema varchar not null
);
create table {schema}._dlt_loads (
    load_id varchar(64) not null,
    schema_name varchar,
    status bigint not null,
    inserted_at timestamptz not null,
    schema_version_hash varchar
);
create index _dlt_loads_load_id on {schema}._dlt_loads (load_id);
create table {schema}._dlt_pipeline_state (
    version bigint not null,
    engine_version bigint not null,
    pipeline_name varchar not null,
    state varchar not null,
    created_at timestamptz not null,
    version_hash varchar,
    _dlt_load_id varchar(64) not null,
    _dlt_id varchar not null unique
);
create index _dlt_pipeline_state_pipeline on {schema}._dlt_pipeline_state (pipeline_name, _dlt_load_id);

-- Staging slots. dlt's default is one staging schema that all tenants share and truncate: tenants
-- that load at once then lose rows without an error. Here each load has a slot to itself, held by
-- an advisory lock. Logged on purpose: unlogged staging loses rows when PostgreSQL crashes between
-- COPY and MERGE.
do $$
declare
    slot text;
begin
    for k in 1..8 loop
        slot := {schema_name} || '_stg_slot' || k;
        execute format('create schema %I', slot);
        execute format('create table %I.deals (like {schema}.deals)', slot);
        -- ADBC writes json, not jsonb; the merge casts it
        execute format('alter table %I.deals alter column properties type json using null', slot);
        execute format('create table %I._dlt_version (like {schema}._dlt_version)', slot);
    end loop;
end
$$;
