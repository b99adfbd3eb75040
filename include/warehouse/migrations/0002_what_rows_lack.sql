alter table {schema}.scan_objects
    add column object_type text,
    add column properties_asked_before text[],
    add column live_rows bigint;
comment on column {schema}.scan_objects.watermark is
    'Where the next incremental scan starts; NULL for windows, and if HubSpot''s search refuses the object.';
comment on column {schema}.scan_objects.properties_asked is
    'Properties requested, as far as the account defines them.';
comment on column {schema}.scan_objects.object_type is
    'HubSpot''s name or id of the type; NULL if the object was never read.';
comment on column {schema}.scan_objects.properties_asked_before is
    'Properties that all earlier extractions of this scan requested: rows that they wrote lack the others. NULL: there was none.';
comment on column {schema}.scan_objects.live_rows is
    'Live rows in PostgreSQL at the end; NULL: a window, or not read to the end.';
comment on column {schema}.scan_objects.warehouse_live is
    'Live rows in PostgreSQL that are old enough for HubSpot''s search to know them; NULL: not compared.';
comment on column {schema}.scan_objects.mode is
    '`full`, `incremental`, `window`, or `skipped` (not read: see `reason`).';

-- A try that a newer one has overtaken must not say that something is known completely.
create trigger refuse_outdated before insert or update or delete on {schema}.freshness
    for each statement execute function {schema}.refuse_outdated();
