-- Row locks instead of advisory locks: any role can take an advisory lock and keep it.
-- docs/how-scans-work.md#leases-and-slots

create table {schema}.locks (
    name text primary key
);
comment on table {schema}.locks is
    'What one process does at a time: it updates the row, and others wait for its transaction';
