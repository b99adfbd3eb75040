-- Scans that have not ended are looked for with every look at the page and at every scan's start.
create index scans_open on {schema}.scans (dag_id)
    where state not in ('succeeded', 'failed', 'cancelled');
