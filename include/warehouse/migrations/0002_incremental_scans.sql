-- Incremental scans, what lies around a deal, any other CRM object, and one schema of views per
-- tenant. docs/database-schema.md explains every table and column.

-- Rows: what is unchanged is decided by content, and what is older never replaces what is newer.
alter table {schema}.deals add column vanished_at timestamptz;
alter table {schema}.deals add column merged_into_deal_id bigint;
-- 0: written before there were hashes, so the next scan writes the row again
alter table {schema}.deals add column _content_hash bigint not null default 0;
comment on column {schema}.deals.vanished_at is
    'When a scan noticed that HubSpot no longer knows the deal, neither live nor archived';
comment on column {schema}.deals._content_hash is
    'Of all that HubSpot sent of the deal: a scan writes the row only when this changes';

-- the few rows that every scan looks at: archived, vanished, merged away
create index deals_not_live on {schema}.deals (_tenant_id, deal_id)
    where archived or vanished_at is not null or merged_into_deal_id is not null;

create table {schema}.records (
    _tenant_id text not null,
    object text not null,
    record_id bigint not null,
    created_at timestamptz,
    updated_at timestamptz,
    archived boolean not null,
    archived_at timestamptz,
    url text,
    properties jsonb not null,
    vanished_at timestamptz,
    merged_into_record_id bigint,
    _content_hash bigint not null default 0,
    _scan_id text not null,
    _extracted_at timestamptz not null,
    primary key (_tenant_id, object, record_id)
);
create index records_tenant_updated_at on {schema}.records (_tenant_id, object, updated_at);
create index records_scan on {schema}.records (_scan_id);
create index records_not_live on {schema}.records (_tenant_id, object, record_id)
    where archived or vanished_at is not null or merged_into_record_id is not null;
comment on table {schema}.records is
    'Records of every other CRM object than deals: contacts, companies, custom objects …';

-- A task whose supervisor was killed can go on beside its retry and deliver what it read before.
create function {schema}.keep_the_newer() returns trigger language plpgsql as $$
begin
    return null;
end
$$;
create trigger keep_the_newer before update on {schema}.deals for each row
    when (new.updated_at < old.updated_at
          or (new.updated_at = old.updated_at and new._extracted_at < old._extracted_at))
    execute function {schema}.keep_the_newer();
create trigger keep_the_newer before update on {schema}.records for each row
    when (new.updated_at < old.updated_at
          or (new.updated_at = old.updated_at and new._extracted_at < old._extracted_at))
    execute function {schema}.keep_the_newer();

do $$
declare
    slot text;
begin
    for k in 1..8 loop
        slot := {schema_name} || '_stg_slot' || k;
        execute format('alter table %I.deals add column _content_hash bigint not null default 0', slot);
        execute format('create table %I.records (like {schema}.records)', slot);
        execute format('alter table %I.records alter column properties type json using null', slot);
        execute format('alter table %I.records drop column vanished_at', slot);
        execute format('alter table %I.records drop column merged_into_record_id', slot);
    end loop;
end
$$;

-- Scans: what was read of each object, and the proof that it is all there.
alter table {schema}.scans drop column deals_extracted;
alter table {schema}.scans drop column deals_loaded;
alter table {schema}.scans drop column deals_archived;
alter table {schema}.scans drop column duplicates_dropped;
alter table {schema}.scans add column extraction_finished_at timestamptz;
alter table {schema}.scans add column schema_drift jsonb not null default '{{}}';
alter table {schema}.scans add column warnings jsonb not null default '[]';

create table {schema}.scan_objects (
    scan_id text not null references {schema}.scans on delete cascade,
    tenant_id text not null,
    object text not null,
    mode text not null check (mode in ('full', 'incremental', 'window', 'skipped')),
    reason text not null,
    window_start timestamptz,
    window_end timestamptz,
    watermark timestamptz,
    properties_asked text[] not null default '{{}}',
    pages integer not null default 0,
    records_received bigint not null default 0,
    records_archived bigint not null default 0,
    duplicates_dropped bigint not null default 0,
    rows_written bigint not null default 0,
    restored bigint not null default 0,
    merged bigint not null default 0,
    vanished bigint not null default 0,
    associations bigint,
    portal_live bigint,
    warehouse_live bigint,
    difference bigint,
    unexplained bigint,
    primary key (scan_id, object)
);
comment on column {schema}.scan_objects.watermark is
    'If the scan succeeds, the next incremental scan reads what was modified from here on';
create index scan_objects_tenant on {schema}.scan_objects (tenant_id, object);

create table {schema}.scan_chunks (
    scan_id text not null references {schema}.scans on delete cascade,
    object text not null,
    chunk integer not null,
    ids bigint[] not null,
    hashes bigint[] not null,
    modified_at timestamptz[] not null,
    loaded_at timestamptz not null default now(),
    primary key (scan_id, object, chunk)
);
comment on table {schema}.scan_chunks is
    'Which records a scan received, in which state; kept until a later scan of the tenant succeeds';

-- Around a deal.
create table {schema}.deal_pipelines (
    _tenant_id text not null,
    pipeline_id text not null,
    label text not null,
    display_order integer,
    listed boolean not null,
    created_at timestamptz,
    updated_at timestamptz,
    first_seen_at timestamptz not null default now(),
    last_seen_at timestamptz not null default now(),
    primary key (_tenant_id, pipeline_id)
);

alter table {schema}.deal_stages add column display_order integer;
alter table {schema}.deal_stages add column listed boolean not null default true;
alter table {schema}.deal_stages add column first_seen_at timestamptz not null default now();
alter table {schema}.deal_stages add column last_seen_at timestamptz not null default now();
comment on column {schema}.deal_stages.listed is
    'false: deals still hold this stage, but the portal no longer lists it';

create table {schema}.owners (
    _tenant_id text not null,
    owner_id text not null,
    email text,
    first_name text,
    last_name text,
    owner_type text,
    user_id bigint,
    teams jsonb,
    archived boolean not null,
    created_at timestamptz,
    updated_at timestamptz,
    first_seen_at timestamptz not null default now(),
    last_seen_at timestamptz not null default now(),
    primary key (_tenant_id, owner_id)
);

create table {schema}.property_definitions (
    _tenant_id text not null,
    object text not null,
    name text not null,
    label text,
    property_type text,
    field_type text,
    calculated boolean not null,
    options jsonb not null,
    archived boolean not null,
    listed boolean not null,
    definition jsonb not null,
    first_seen_at timestamptz not null default now(),
    last_seen_at timestamptz not null default now(),
    primary key (_tenant_id, object, name)
);
comment on column {schema}.property_definitions.listed is
    'false: the portal no longer lists this property, neither live nor archived';

create table {schema}.associations (
    _tenant_id text not null,
    from_object text not null,
    from_id bigint not null,
    to_object text not null,
    to_id bigint not null,
    category text not null,
    type_id integer not null,
    label text,
    first_seen_at timestamptz not null default now(),
    primary key (_tenant_id, from_object, from_id, to_object, to_id, category, type_id)
);
create index associations_to on {schema}.associations (_tenant_id, to_object, to_id);

create table {schema}.property_history (
    _tenant_id text not null,
    object text not null,
    record_id bigint not null,
    property text not null,
    changed_at timestamptz not null,
    value text,
    source_type text,
    source_id text,
    primary key (_tenant_id, object, record_id, property, changed_at)
);

create table {schema}.history_reads (
    _tenant_id text not null,
    object text not null,
    record_id bigint not null,
    content_hash bigint not null,
    properties text not null,
    primary key (_tenant_id, object, record_id)
);
comment on table {schema}.history_reads is
    'For which content of a record, and which properties, its history was read last';

-- What analysts see: one schema of views per tenant, <schema>__<tenant>.
create table {schema}.tenant_views (
    tenant_id text primary key,
    schema_name text not null,
    role_name text not null,
    signature text not null,
    built_at timestamptz not null default now()
);

-- Typed columns of the views: a value that does not fit its type is NULL, never an error. Bodies are
-- SQL-standard ones, which are resolved here and now: an analyst has no right to this schema.
create function {schema}.as_number(value text) returns numeric
    language sql immutable parallel safe
    return case
        when length(value) <= 400
             and value ~ '^[ \t\n\r\f\v]*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{{1,3}})?[ \t\n\r\f\v]*$'
        then value::numeric
    end;

create function {schema}.as_boolean(value text) returns boolean
    language sql immutable parallel safe
    return case value when 'true' then true when 'false' then false end;

create function {schema}.as_list(value text) returns text[]
    language sql immutable parallel safe
    return case when value <> '' then string_to_array(trim(both ';' from value), ';') end;

create function {schema}.as_date(value text) returns date
    language sql immutable parallel safe
    return case
        when value ~ '^(?!0000)[0-9]{{4}}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])(T.*)?$'
        then case
            when substr(value, 9, 2)::integer <= extract(day from
                make_date(substr(value, 1, 4)::integer, substr(value, 6, 2)::integer, 1)
                + interval '1 month - 1 day')
            then make_date(substr(value, 1, 4)::integer, substr(value, 6, 2)::integer,
                           substr(value, 9, 2)::integer)
        end
        -- milliseconds since 1970, up to the year 9999
        when value ~ '^-?[0-9]{{1,15}}$' and abs(value::numeric) < 253402300800000
             and value::numeric > -62135596800000
        then (timestamp 'epoch' + value::bigint * interval '1 millisecond')::date
    end;

create function {schema}.as_timestamptz(value text) returns timestamptz
    language sql stable parallel safe
    return case
        when value ~ '^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}([T ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.][0-9]{{1,9}})?)?(Z|[+-](0[0-9]|1[0-4]):?[0-5][0-9])?)?$'
        then case
            when {schema}.as_date(substr(value, 1, 10)) is not null
            -- text without a zone is UTC, whatever the session's time zone says
            then (value || case when value ~ '(Z|[+-][0-9]{{2}}:?[0-9]{{2}})$' and length(value) > 10
                                then '' else 'Z' end)::timestamptz
        end
        when value ~ '^-?[0-9]{{1,15}}$' and abs(value::numeric) < 253402300800000
             and value::numeric > -62135596800000
        then timestamptz 'epoch' + value::bigint * interval '1 millisecond'
    end;
