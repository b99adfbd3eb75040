-- What the status page and the REST API show of a running scan, and the indexes they read by.
-- docs/database-schema.md explains every table and column.

alter table {schema}.scans add column figures_at timestamptz;
alter table {schema}.scans add column remedy text;
alter table {schema}.scans add column quota_limit integer;
alter table {schema}.scans add column quota_remaining integer;
alter table {schema}.scans add column quota_resets_at timestamptz;
comment on column {schema}.scans.figures_at is
    'When the row''s counts were written: at the last checkpoint';
alter table {schema}.scan_objects add column expected bigint;
comment on column {schema}.scan_objects.expected is
    'How many records the scan will receive, as far as it was known when it began';

-- lists go on where a page ended, so the order must be a total one
drop index {schema}.scans_tenant_started;
create index scans_tenant_started on {schema}.scans (tenant_id, started_at desc, scan_id desc);
create index scans_started on {schema}.scans (started_at desc, scan_id desc);
create index scans_succeeded on {schema}.scans (tenant_id, started_at desc)
    where state = 'succeeded';
drop index {schema}.deals_scan;
create index deals_scan on {schema}.deals (_scan_id, deal_id);
