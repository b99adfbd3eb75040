-- Properties are staged as jsonb: PostgreSQL parses and compresses them once, at COPY, and MERGE
-- moves them as they are. docs/how-scans-work.md#chunks

do $$
declare
    staging text;
    target text;
begin
    for k in 1..8 loop
        staging := {schema_name} || '_stg_slot' || k;
        foreach target in array array['deals', 'records'] loop
            -- rows that are there may be those of a load that is under way
            execute format('alter table %I.%I alter column properties type jsonb'
                           ' using properties::jsonb', staging, target);
            execute format('alter table %I.%I alter column properties set storage extended',
                           staging, target);
            execute format('alter table %I.%I reset (toast_tuple_target)', staging, target);
            if 'lz4' = any(select unnest(enumvals) from pg_settings
                           where name = 'default_toast_compression')
            then
                execute format('alter table %I.%I alter column properties set compression lz4',
                               staging, target);
            end if;
        end loop;
    end loop;
end
$$;
