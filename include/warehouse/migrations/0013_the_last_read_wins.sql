-- What a later scan read replaces what an earlier one read, whatever HubSpot says of its modification
-- time: HubSpot's times can go back. Tries that were given up are kept out by their number alone.
-- docs/how-scans-work.md#fences

drop trigger keep_the_newer on {schema}.deals;
drop trigger keep_the_newer on {schema}.records;
drop function {schema}.keep_the_newer();

-- `for share` holds the scan's row until the statement's transaction ends. A newer try, which raises
-- the number, waits for it: so no write of an earlier try is committed after that.
create or replace function {schema}.refuse_outdated() returns trigger language plpgsql as $$
declare
    writer text[] := regexp_match(current_setting('application_name'),
                                  '^hubspot_deals/([0-9a-f-]{{36}})/([0-9]+)$');
begin
    if writer is null then
        return null;
    end if;
    perform from {schema}.scans where scan_id = writer[1] and attempt = writer[2]::integer for share;
    if not found then
        raise exception 'scan %: attempt % is outdated', writer[1], writer[2] using errcode = 'HD001';
    end if;
    return null;
end
$$;

alter table {schema}.scans add column first_extraction bigint;
alter table {schema}.scans add column last_extraction bigint;
comment on column {schema}.scans.first_extraction is
    'The number that the extraction got when it began, counted over all scans of the tenant';
comment on column {schema}.scans.last_extraction is
    'The number that its last try got: of two scans that overlap, each has read something later';
