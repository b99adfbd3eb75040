-- Checkpoints: a retry goes on where the last try was killed. And fences: what a try writes after a
-- newer one has begun is refused. docs/how-scans-work.md#checkpoints

comment on column {schema}.scans.attempt is
    'The newest try of the scan; what an earlier one still writes is refused';
alter table {schema}.scans add column hubspot_started_at timestamptz;
comment on column {schema}.scans.extraction_started_at is
    'Of the try that began anew; tries that go on from a checkpoint leave it';
comment on column {schema}.scans.hubspot_started_at is
    'The same moment by HubSpot''s clock, if that is behind PostgreSQL''s';

alter table {schema}.scan_objects add column position jsonb;
comment on column {schema}.scan_objects.position is
    'How far the object has been read: what is left of its lists, where associations go on';

create table {schema}.freshness (
    _tenant_id text not null,
    what text not null,
    read_at timestamptz not null,
    primary key (_tenant_id, what)
);
comment on table {schema}.freshness is
    'When pipelines, owners, property definitions and associations were last read as a whole';

-- A try calls its connections so. Other connections (a person's, a check's) are let through.
create function {schema}.refuse_outdated() returns trigger language plpgsql as $$
declare
    writer text[] := regexp_match(current_setting('application_name'),
                                  '^hubspot_deals/([0-9a-f-]{{36}})/([0-9]+)$');
begin
    if writer is null then
        return null;
    end if;
    perform from {schema}.scans where scan_id = writer[1] and attempt = writer[2]::integer;
    if not found then
        raise exception 'scan %: attempt % is outdated', writer[1], writer[2] using errcode = 'HD001';
    end if;
    return null;
end
$$;

do $$
declare
    target text;
begin
    foreach target in array array['deals', 'records', 'associations', 'property_history',
                                  'history_reads', 'deal_pipelines', 'deal_stages', 'owners',
                                  'property_definitions', 'scan_objects', 'scan_chunks']
    loop
        execute format(
            'create trigger refuse_outdated before insert or update or delete on {schema}.%I'
            ' for each statement execute function {schema}.refuse_outdated()', target);
    end loop;
end
$$;

-- lz4 compresses JSON as well as the default, in a fraction of the time; not every server has it.
do $$
begin
    if 'lz4' = any(select unnest(enumvals) from pg_settings where name = 'default_toast_compression')
    then
        alter table {schema}.deals alter column properties set compression lz4;
        alter table {schema}.records alter column properties set compression lz4;
    end if;
end
$$;

-- A staging slot belongs to whoever took it last: a try that lost it can't empty or fill it.
create table {schema}.staging_slots (
    slot integer primary key,
    writer text
);
insert into {schema}.staging_slots (slot) select generate_series(1, 8);

create function {schema}.refuse_strangers() returns trigger language plpgsql as $$
begin
    if current_setting('application_name') like 'hubspot_deals/%' then
        perform from {schema}.staging_slots
        where slot = tg_argv[0]::integer and writer = current_setting('application_name');
        if not found then
            raise exception 'staging slot % belongs to another load', tg_argv[0]
                using errcode = 'HD001';
        end if;
    end if;
    return null;
end
$$;

do $$
declare
    staging text;
    target text;
begin
    for k in 1..8 loop
        staging := {schema_name} || '_stg_slot' || k;
        foreach target in array array['deals', 'records'] loop
            -- rows stay here for a second: compressing them would cost as much as merging them
            execute format('alter table %I.%I alter column properties set storage external',
                           staging, target);
            execute format('alter table %I.%I set (toast_tuple_target = 8160)', staging, target);
            execute format(
                'create trigger refuse_strangers before insert or update or delete or truncate'
                ' on %I.%I for each statement execute function {schema}.refuse_strangers(%L)',
                staging, target, k);
        end loop;
    end loop;
end
$$;
