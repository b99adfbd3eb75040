-- Rows instead of advisory locks: everybody who may connect can take those, and keep them.
-- docs/how-scans-work.md#leases-and-slots

create table {schema}.locks (
    name text primary key
);
comment on table {schema}.locks is
    'What one process does at a time: who updates a row waits for whoever has done so before';
