-- Everything that this package keeps in PostgreSQL: tables, functions, triggers, staging schemas.
-- `{schema}` stands for the schema's identifier, `{schema_name}` for its name as a string. The
-- comments are the reference of docs/database-schema.md: `make reference` writes it from them.

-- Scans ---------------------------------------------------------------------------------------

create table {schema}.tenants (
    tenant_id text primary key,
    portal_id bigint not null,
    bound_at timestamptz not null default now(),
    bound_by_scan_id text not null
);
comment on table {schema}.tenants is 'The HubSpot account that each tenant is bound to.';
comment on column {schema}.tenants.portal_id is 'HubSpot''s account id.';
comment on column {schema}.tenants.bound_by_scan_id is 'First successful scan.';

create table {schema}.scans (
    scan_id text primary key,
    tenant_id text not null,
    dag_id text not null,
    run_id text not null,
    attempt integer not null default 0,
    mode text not null,
    window_start timestamptz,
    window_end timestamptz,
    state text not null check (
        state in ('validating', 'extracting', 'checking', 'waiting',
                  'succeeded', 'failed', 'cancelled')
    ),
    portal_id bigint,
    pages integer not null default 0,
    requests integer not null default 0,
    throttled integer not null default 0,
    repairs jsonb not null default '{{}}',
    misfits jsonb not null default '{{}}',
    schema_drift jsonb not null default '{{}}',
    warnings jsonb not null default '[]',
    started_at timestamptz not null default now(),
    extraction_started_at timestamptz,
    hubspot_started_at timestamptz,
    extraction_finished_at timestamptz,
    finished_at timestamptz,
    figures_at timestamptz,
    first_extraction bigint,
    last_extraction bigint,
    quota_limit integer,
    quota_remaining integer,
    quota_resets_at timestamptz,
    error text,
    remedy text
);
comment on table {schema}.scans is
    'One row per run of a tenant''s DAG. Counts cover all tries, up to the last checkpoint. A row that a killed process left in state `extracting` is taken over by the next try, or set to `failed` after the last one.';
comment on column {schema}.scans.scan_id is 'UUID derived from DAG id and run id.';
comment on column {schema}.scans.run_id is 'Airflow''s run id.';
comment on column {schema}.scans.attempt is
    'Number of the newest try; `validate_token` and `extract_deals` each increment it. Earlier tries can''t write.';
comment on column {schema}.scans.mode is 'As requested: `auto`, `incremental` or `full`.';
comment on column {schema}.scans.window_start is 'Requested window.';
comment on column {schema}.scans.state is
    '`validating`, `extracting`, `checking`, `waiting`, `succeeded`, `failed` or `cancelled`.';
comment on column {schema}.scans.portal_id is 'HubSpot''s account id, from the first write on.';
comment on column {schema}.scans.pages is 'Pages and batches received, of all objects.';
comment on column {schema}.scans.requests is 'Requests of `extract_deals`, failed ones included.';
comment on column {schema}.scans.throttled is 'Requests answered with 429.';
comment on column {schema}.scans.repairs is
    'Characters changed because PostgreSQL can''t store them, by kind.';
comment on column {schema}.scans.misfits is
    'Values that don''t fit their column, by column: `close_date` of `deals`, `contacts.updated_at` of `records`, `deals.my_number` of a view.';
comment on column {schema}.scans.schema_drift is
    'Property definitions `added`, `removed` or `retyped` since the previous scan, by object.';
comment on column {schema}.scans.warnings is 'Sentences: what could not be read or built.';
comment on column {schema}.scans.started_at is 'Last start of `validate_token`.';
comment on column {schema}.scans.extraction_started_at is
    'Start of the extraction, by PostgreSQL''s clock; kept when a try resumes. NULL: the next try starts over.';
comment on column {schema}.scans.hubspot_started_at is
    'The same by HubSpot''s clock, if that is behind.';
comment on column {schema}.scans.extraction_finished_at is 'NULL: the next try resumes.';
comment on column {schema}.scans.finished_at is 'When the scan or its run ended.';
comment on column {schema}.scans.figures_at is 'Time of the last checkpoint.';
comment on column {schema}.scans.first_extraction is
    'Sequence number of the extraction within the tenant.';
comment on column {schema}.scans.last_extraction is 'Sequence number of its last try.';
comment on column {schema}.scans.quota_limit is
    'The account''s requests per day, if HubSpot states it.';
comment on column {schema}.scans.quota_remaining is
    'Requests left at the last checkpoint, for all apps.';
comment on column {schema}.scans.quota_resets_at is 'Next midnight in the account''s time zone.';
comment on column {schema}.scans.error is
    'Message of the failure, or until when the scan waits. Of other libraries'' errors only the class: messages may contain values.';
comment on column {schema}.scans.remedy is 'The part of `error` that says what to do.';

-- The order is total, because lists go on where a page ended.
create index scans_tenant_started on {schema}.scans (tenant_id, started_at desc, scan_id desc);
create index scans_started on {schema}.scans (started_at desc, scan_id desc);
create index scans_succeeded on {schema}.scans (tenant_id, started_at desc)
    where state = 'succeeded';
-- Each view of the page, and each start of a scan, looks for scans that have not ended.
create index scans_open on {schema}.scans (dag_id)
    where state not in ('succeeded', 'failed', 'cancelled');

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
    expected bigint,
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
    position jsonb,
    primary key (scan_id, object)
);
comment on table {schema}.scan_objects is
    'What a scan did with each object: one row for `deals` and one for every other object. Counts cover all tries.';
comment on column {schema}.scan_objects.scan_id is 'References `scans`; deleted with it.';
comment on column {schema}.scan_objects.object is '`deals`, or as in `records`.';
comment on column {schema}.scan_objects.mode is
    '`full`, `incremental`, `window`, or `skipped` (access denied).';
comment on column {schema}.scan_objects.reason is 'Why this mode.';
comment on column {schema}.scan_objects.window_start is
    'First modification time read; NULL: everything.';
comment on column {schema}.scan_objects.window_end is
    'Modification times before this; NULL: no end.';
comment on column {schema}.scan_objects.watermark is
    'Where the next incremental scan starts; NULL for windows.';
comment on column {schema}.scan_objects.properties_asked is 'Properties requested by a full scan.';
comment on column {schema}.scan_objects.expected is
    'Records expected, from the last complete count or from HubSpot''s search; NULL: unknown.';
comment on column {schema}.scan_objects.pages is 'Pages and batches received.';
comment on column {schema}.scan_objects.records_received is
    'Distinct records received, live and archived. Repeats count until the object has been read completely.';
comment on column {schema}.scan_objects.records_archived is 'Archived rows among them.';
comment on column {schema}.scan_objects.duplicates_dropped is 'Records repeated within a chunk.';
comment on column {schema}.scan_objects.rows_written is 'Rows that were new or changed.';
comment on column {schema}.scan_objects.restored is 'Archived rows found live again.';
comment on column {schema}.scan_objects.merged is 'Rows newly marked as merged.';
comment on column {schema}.scan_objects.vanished is 'Rows newly marked as missing in HubSpot.';
comment on column {schema}.scan_objects.associations is
    'Associations stored after the scan; NULL: not loaded.';
comment on column {schema}.scan_objects.portal_live is
    'Live records according to HubSpot; NULL: not compared.';
comment on column {schema}.scan_objects.warehouse_live is 'Live rows in PostgreSQL.';
comment on column {schema}.scan_objects.difference is '`portal_live` − `warehouse_live`.';
comment on column {schema}.scan_objects.unexplained is
    'Records on which HubSpot, asked by id, and PostgreSQL disagree.';
comment on column {schema}.scan_objects.position is
    'Checkpoint: for the `live` and `archived` lists the `remaining` id ranges, the cursor `after` and ids `not_found`; for `associations` the last record done.';
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
    'The records that a scan received, chunk by chunk. Deleted after a later successful scan of the tenant, unless the scan can still resume.';
comment on column {schema}.scan_chunks.scan_id is 'References `scans`; deleted with it.';
comment on column {schema}.scan_chunks.chunk is '1, 2, 3 … per object.';
comment on column {schema}.scan_chunks.ids is 'Record ids.';
comment on column {schema}.scan_chunks.hashes is 'Each record''s `_content_hash`.';
comment on column {schema}.scan_chunks.modified_at is 'Each record''s modification time.';

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
comment on table {schema}.quality_results is 'Results of a scan''s last `check_quality`.';
comment on column {schema}.quality_results.scan_id is 'References `scans`; deleted with it.';
comment on column {schema}.quality_results.status is
    '`passed`, `warned`, `failed` or `no_rows` (not applicable).';
comment on column {schema}.quality_results.severity is '`block` fails the run, `warn` doesn''t.';
comment on column {schema}.quality_results.observed is 'Rows or values that are wrong.';
comment on column {schema}.quality_results.at_most is 'Highest figure that passes.';
comment on column {schema}.quality_results.why is 'Why it is checked.';

create table {schema}.quality_records (
    scan_id text not null,
    tenant_id text not null,
    check_name text not null,
    number integer not null,
    object text not null,
    record_id bigint not null,
    detail text,
    primary key (scan_id, check_name, number),
    foreign key (scan_id, check_name) references {schema}.quality_results on delete cascade
);
comment on table {schema}.quality_records is
    'The records that a warned or failed check found, at most 10,000 of each check.';
comment on column {schema}.quality_records.scan_id is 'References `quality_results`.';
comment on column {schema}.quality_records.number is 'Counts from 1, by object and record.';
comment on column {schema}.quality_records.object is 'As in `scan_objects`.';
comment on column {schema}.quality_records.detail is
    'What is wrong, where the check''s name does not say it: a stage, a column with its value.';

-- Records -------------------------------------------------------------------------------------

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
    vanished_at timestamptz,
    merged_into_deal_id bigint,
    _content_hash bigint not null default 0,
    primary key (_tenant_id, deal_id)
);
comment on table {schema}.deals is 'One row per deal and tenant. Rows are never deleted.';
comment on column {schema}.deals._tenant_id is '`id` in the tenants file.';
comment on column {schema}.deals.deal_id is 'HubSpot''s record id, unique per account.';
comment on column {schema}.deals.deal_name is 'HubSpot property `dealname`.';
comment on column {schema}.deals.deal_type is 'HubSpot property `dealtype`.';
comment on column {schema}.deals.pipeline_id is 'HubSpot property `pipeline`; joins `pipelines`.';
comment on column {schema}.deals.stage_id is
    'HubSpot property `dealstage`; joins `pipeline_stages`.';
comment on column {schema}.deals.owner_id is 'HubSpot property `hubspot_owner_id`; joins `owners`.';
comment on column {schema}.deals.amount is 'HubSpot property `amount`, in `currency`.';
comment on column {schema}.deals.amount_in_home_currency is
    'HubSpot property `amount_in_home_currency`, in the account''s currency.';
comment on column {schema}.deals.currency is 'HubSpot property `deal_currency_code`.';
comment on column {schema}.deals.probability is
    'HubSpot property `hs_deal_stage_probability`, 0 to 1.';
comment on column {schema}.deals.forecast_category is
    'HubSpot property `hs_manual_forecast_category`.';
comment on column {schema}.deals.priority is 'HubSpot property `hs_priority`.';
comment on column {schema}.deals.is_closed is 'HubSpot property `hs_is_closed`: won or lost.';
comment on column {schema}.deals.is_won is 'HubSpot property `hs_is_closed_won`.';
comment on column {schema}.deals.close_date is 'HubSpot property `closedate`: expected or actual.';
comment on column {schema}.deals.stage_entered_at is
    'HubSpot property `hs_v2_date_entered_current_stage`.';
comment on column {schema}.deals.created_at is 'HubSpot''s `createdAt`.';
comment on column {schema}.deals.updated_at is
    'HubSpot''s `updatedAt`; archiving and calculated values don''t change it.';
comment on column {schema}.deals.archived is 'In HubSpot''s recycle bin.';
comment on column {schema}.deals.archived_at is 'HubSpot''s `archivedAt`.';
comment on column {schema}.deals.url is 'The record in HubSpot''s UI.';
comment on column {schema}.deals.properties is
    'Every requested property by internal name, as sent: string or `null`.';
comment on column {schema}.deals._scan_id is
    'Scan that last wrote the row; joins `scans`. Unchanged rows are not written.';
comment on column {schema}.deals._extracted_at is
    'When the record was read, or up to one chunk earlier.';
comment on column {schema}.deals.vanished_at is
    'Start of the extraction that found the record missing in HubSpot.';
comment on column {schema}.deals.merged_into_deal_id is
    'Deal that this one was merged into; after several merges the last.';
comment on column {schema}.deals._content_hash is
    'Hash of what HubSpot sent. 0: the next scan writes the row.';
create index deals_tenant_updated_at on {schema}.deals (_tenant_id, updated_at);
create index deals_tenant_close_date on {schema}.deals (_tenant_id, close_date);
create index deals_tenant_stage on {schema}.deals (_tenant_id, stage_id);
create index deals_tenant_owner on {schema}.deals (_tenant_id, owner_id);
create index deals_scan on {schema}.deals (_scan_id, deal_id);
-- Every scan looks at these few rows.
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
comment on table {schema}.records is
    'One row per record of every other CRM object (contacts, companies, custom objects …). Other columns are as in `deals`.';
comment on column {schema}.records.object is 'Key in the tenant''s `objects`.';
comment on column {schema}.records.record_id is 'HubSpot''s record id.';
create index records_tenant_updated_at on {schema}.records (_tenant_id, object, updated_at);
create index records_scan on {schema}.records (_scan_id);
create index records_not_live on {schema}.records (_tenant_id, object, record_id)
    where archived or vanished_at is not null or merged_into_record_id is not null;

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
comment on table {schema}.associations is
    'Associations as HubSpot last listed them. Two records have one row per kind of association: count `distinct to_id`. Associations that HubSpot no longer lists are deleted, and so are those of missing and merged records; those of archived records stay.';
comment on column {schema}.associations.from_object is '`deals`, or as in `records`.';
comment on column {schema}.associations.from_id is 'Joins `deals.deal_id` or `records.record_id`.';
comment on column {schema}.associations.to_object is 'Object type as in the tenants file.';
comment on column {schema}.associations.to_id is 'Joins `records.record_id` if loaded.';
comment on column {schema}.associations.category is '`HUBSPOT_DEFINED`, `USER_DEFINED` …';
comment on column {schema}.associations.type_id is 'HubSpot''s id of the kind.';
comment on column {schema}.associations.label is 'Such as `Primary`; NULL: unlabelled.';
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
comment on table {schema}.property_history is
    'Current and earlier values of the properties chosen in `property_history`. Values are added, never deleted.';
comment on column {schema}.property_history.record_id is
    'Joins `deals.deal_id` or `records.record_id`.';
comment on column {schema}.property_history.property is 'Internal name.';
comment on column {schema}.property_history.changed_at is 'When the property got this value.';
comment on column {schema}.property_history.value is 'As sent.';
comment on column {schema}.property_history.source_type is 'What changed it, such as `CRM_UI`.';

create table {schema}.history_reads (
    _tenant_id text not null,
    object text not null,
    record_id bigint not null,
    content_hash bigint not null,
    properties text not null,
    primary key (_tenant_id, object, record_id)
);
comment on table {schema}.history_reads is
    'For which content of a record, and which properties, the history was last read.';
comment on column {schema}.history_reads.content_hash is 'The row''s `_content_hash` at that time.';
comment on column {schema}.history_reads.properties is 'Requested names, or a hash of them.';

-- What records refer to -----------------------------------------------------------------------

create table {schema}.accounts (
    _tenant_id text primary key,
    portal_id bigint not null,
    time_zone text not null,
    company_currency text,
    additional_currencies jsonb not null,
    account_type text,
    hublet text,
    ui_domain text,
    first_seen_at timestamptz not null default now(),
    last_seen_at timestamptz not null default now()
);
comment on table {schema}.accounts is
    'Facts about the tenant''s HubSpot account, as of its last scan.';
comment on column {schema}.accounts.portal_id is 'HubSpot''s account id.';
comment on column {schema}.accounts.time_zone is
    'IANA name; HubSpot''s UI shows close dates in it.';
comment on column {schema}.accounts.company_currency is 'Currency of `amount_in_home_currency`.';
comment on column {schema}.accounts.additional_currencies is 'Codes of other currencies.';
comment on column {schema}.accounts.account_type is
    '`STANDARD`, `DEVELOPER_TEST`, `SANDBOX` or `APP_DEVELOPER`.';
comment on column {schema}.accounts.hublet is 'Data region: `na1`, `eu1` …';
comment on column {schema}.accounts.ui_domain is 'Host of HubSpot''s UI.';

create table {schema}.pipelines (
    _tenant_id text not null,
    object text not null,
    pipeline_id text not null,
    label text not null,
    display_order integer,
    listed boolean not null,
    created_at timestamptz,
    updated_at timestamptz,
    first_seen_at timestamptz not null default now(),
    last_seen_at timestamptz not null default now(),
    primary key (_tenant_id, object, pipeline_id)
);
comment on table {schema}.pipelines is 'The pipelines of deals and of other loaded objects.';
comment on column {schema}.pipelines.object is '`deals`, or as in `records`.';
comment on column {schema}.pipelines.pipeline_id is
    'Joins `deals.pipeline_id`, or the property `hs_pipeline` of other objects.';
comment on column {schema}.pipelines.label is 'Name in HubSpot''s UI.';
comment on column {schema}.pipelines.listed is 'False: HubSpot no longer lists it.';
comment on column {schema}.pipelines.created_at is 'As sent; 1970 is possible.';

create table {schema}.pipeline_stages (
    _tenant_id text not null,
    object text not null,
    pipeline_id text not null,
    stage_id text not null,
    pipeline_label text not null,
    stage_label text not null,
    is_closed boolean,
    probability numeric,
    metadata jsonb,
    _scan_id text not null,
    display_order integer,
    listed boolean not null default true,
    created_at timestamptz,
    updated_at timestamptz,
    first_seen_at timestamptz not null default now(),
    last_seen_at timestamptz not null default now(),
    primary key (_tenant_id, object, pipeline_id, stage_id)
);
comment on table {schema}.pipeline_stages is 'The stages of these pipelines.';
comment on column {schema}.pipeline_stages.object is '`deals`, or as in `records`.';
comment on column {schema}.pipeline_stages.stage_id is
    'Joins `deals.stage_id`, or the property `hs_pipeline_stage` of other objects.';
comment on column {schema}.pipeline_stages.pipeline_label is 'Name in HubSpot''s UI.';
comment on column {schema}.pipeline_stages.stage_label is
    'Name in HubSpot''s UI; the id if never listed.';
comment on column {schema}.pipeline_stages.is_closed is
    '`metadata.isClosed`; of tickets `ticketState` = `CLOSED`.';
comment on column {schema}.pipeline_stages.probability is
    '`metadata.probability`; 1 in a closed stage means won.';
comment on column {schema}.pipeline_stages.metadata is 'As sent; NULL if never listed.';
comment on column {schema}.pipeline_stages._scan_id is 'Last scan that found it listed or in use.';
comment on column {schema}.pipeline_stages.listed is
    'False: HubSpot doesn''t list it, but records may hold it.';

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
comment on table {schema}.owners is
    'Owners of records, archived ones included. An owner that HubSpot no longer lists is kept.';
comment on column {schema}.owners.owner_id is 'Joins `deals.owner_id`.';
comment on column {schema}.owners.owner_type is '`PERSON` or `QUEUE`.';
comment on column {schema}.owners.user_id is
    'Joins `users`; also the former id of an archived owner.';
comment on column {schema}.owners.teams is 'As sent.';

create table {schema}.users (
    _tenant_id text not null,
    user_id bigint not null,
    email text,
    first_name text,
    last_name text,
    role_ids jsonb not null,
    primary_team_id bigint,
    secondary_team_ids jsonb not null,
    super_admin boolean,
    listed boolean not null,
    first_seen_at timestamptz not null default now(),
    last_seen_at timestamptz not null default now(),
    primary key (_tenant_id, user_id)
);
comment on table {schema}.users is 'The account''s users. Empty if the token may not read them.';
comment on column {schema}.users.user_id is 'Joins `owners.user_id`.';
comment on column {schema}.users.role_ids is 'Array of text.';
comment on column {schema}.users.primary_team_id is 'Main team; joins `teams`.';
comment on column {schema}.users.secondary_team_ids is 'Array of text.';
comment on column {schema}.users.listed is 'False: HubSpot no longer lists the user.';

create table {schema}.teams (
    _tenant_id text not null,
    team_id bigint not null,
    name text,
    user_ids jsonb not null,
    secondary_user_ids jsonb not null,
    listed boolean not null,
    first_seen_at timestamptz not null default now(),
    last_seen_at timestamptz not null default now(),
    primary key (_tenant_id, team_id)
);
comment on table {schema}.teams is 'The account''s teams. Empty if the token may not read them.';
comment on column {schema}.teams.team_id is 'HubSpot''s id.';
comment on column {schema}.teams.user_ids is 'Members with this as main team: array of text.';
comment on column {schema}.teams.secondary_user_ids is 'Other members: array of text.';
comment on column {schema}.teams.listed is 'False: HubSpot no longer lists it.';

create table {schema}.roles (
    _tenant_id text not null,
    role_id bigint not null,
    name text,
    requires_billing_write boolean,
    listed boolean not null,
    first_seen_at timestamptz not null default now(),
    last_seen_at timestamptz not null default now(),
    primary key (_tenant_id, role_id)
);
comment on table {schema}.roles is
    'The account''s roles (permission sets). Empty if the token may not read them.';
comment on column {schema}.roles.role_id is 'Joins `users.role_ids`.';
comment on column {schema}.roles.requires_billing_write is
    'Assigning it needs the right to change billing.';
comment on column {schema}.roles.listed is 'False: HubSpot no longer lists it.';

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
comment on table {schema}.property_definitions is
    'The properties that the account defines, for each loaded object.';
comment on column {schema}.property_definitions.object is '`deals`, or as in `records`.';
comment on column {schema}.property_definitions.name is 'Internal name: key in `properties`.';
comment on column {schema}.property_definitions.label is 'Name in HubSpot''s UI.';
comment on column {schema}.property_definitions.property_type is
    '`string`, `number`, `bool`, `date`, `datetime`, `enumeration` …';
comment on column {schema}.property_definitions.field_type is '`text`, `select`, `checkbox` …';
comment on column {schema}.property_definitions.calculated is
    'Computed by HubSpot, without a new `updatedAt`.';
comment on column {schema}.property_definitions.options is 'Values of an enumeration, with labels.';
comment on column {schema}.property_definitions.listed is 'False: HubSpot no longer lists it.';
comment on column {schema}.property_definitions.definition is 'As sent.';

create table {schema}.freshness (
    _tenant_id text not null,
    what text not null,
    read_at timestamptz not null,
    primary key (_tenant_id, what)
);
comment on table {schema}.freshness is
    'When pipelines, owners, users, teams, roles, definitions and associations were last read completely. Delete a tenant''s rows to have its next scan read them again.';
comment on column {schema}.freshness.what is
    '`owners`, `users`, `teams`, `roles`, or `pipelines`, `properties` or `associations` with `:<object>`.';

-- Alerts --------------------------------------------------------------------------------------

create table {schema}.incidents (
    incident_id bigint generated always as identity primary key,
    tenant_id text not null,
    kind text not null check (kind in ('failure', 'quality', 'warning', 'deadline', 'quota')),
    error_type text not null,
    cause text not null,
    opened_at timestamptz not null default now(),
    last_seen_at timestamptz not null default now(),
    runs integer not null default 1,
    scan_ids text[] not null,
    said text not null,
    rounds integer not null default 0,
    alerted_at timestamptz,
    closed_at timestamptz,
    closed_by_scan_id text
);
comment on table {schema}.incidents is
    'What went wrong with a tenant''s scans: one row per cause, open until a scan succeeds.';
comment on column {schema}.incidents.kind is
    '`failure`, `quality`, `warning`, `deadline` or `quota`.';
comment on column {schema}.incidents.error_type is 'Error class.';
comment on column {schema}.incidents.cause is
    'Error class, or names of checks or warnings: equal causes are one incident.';
comment on column {schema}.incidents.runs is 'Scans affected.';
comment on column {schema}.incidents.scan_ids is 'The newest 50, oldest first.';
comment on column {schema}.incidents.said is 'The cause as last sent.';
comment on column {schema}.incidents.rounds is 'How often alerts were sent.';
comment on column {schema}.incidents.alerted_at is 'When an alert was last sent.';
comment on column {schema}.incidents.closed_at is 'NULL: open.';
comment on column {schema}.incidents.closed_by_scan_id is 'Scan whose success closed it.';
-- One open incident for each cause: callbacks that run at the same time agree through this index.
create unique index incidents_open on {schema}.incidents (tenant_id, kind, cause)
    where closed_at is null;
create index incidents_tenant_opened on {schema}.incidents (tenant_id, opened_at desc);

create table {schema}.alerts (
    alert_id bigint generated always as identity primary key,
    incident_id bigint not null references {schema}.incidents on delete cascade,
    tenant_id text not null,
    event text not null
        check (event in ('failure', 'quality', 'warning', 'deadline', 'quota', 'recovery')),
    round integer not null,
    channel text not null,
    message jsonb not null,
    created_at timestamptz not null default now(),
    claimed_at timestamptz,
    attempts integer not null default 0,
    sent_at timestamptz,
    error text,
    unique (incident_id, event, round, channel)
);
comment on table {schema}.alerts is
    'The outbox of alerts: one row per incident, event and channel. Rows are kept.';
comment on column {schema}.alerts.incident_id is
    'References `incidents`; deleted with it. Of a recovery: the oldest incident closed.';
comment on column {schema}.alerts.event is 'A `kind` of incident, or `recovery`.';
comment on column {schema}.alerts.round is '1 for the first alert, then 2, 3 …';
comment on column {schema}.alerts.channel is
    'Kind, connection, recipient: `smtp:smtp_default:ops@example.com`.';
comment on column {schema}.alerts.message is 'As webhooks receive it.';
comment on column {schema}.alerts.claimed_at is
    'A process is sending it; another may after 2 minutes.';
comment on column {schema}.alerts.attempts is 'At most 10.';
comment on column {schema}.alerts.sent_at is 'When the channel accepted it.';
comment on column {schema}.alerts.error is 'Class and status of the last failure.';
create index alerts_pending on {schema}.alerts (tenant_id, alert_id) where sent_at is null;

-- What all processes share about HubSpot ------------------------------------------------------

create table {schema}.rate_limits (
    limiter text primary key,
    revision bigint not null default 0,
    requests_per_window integer,
    window_s float8,
    last_slot_at timestamptz not null default 'epoch',
    held_until timestamptz not null default 'epoch',
    used_by_others integer not null default 0,
    others_until timestamptz not null default 'epoch',
    start_permits integer not null default 0,
    eased_until timestamptz not null default 'epoch',
    corrected_at timestamptz not null default 'epoch',
    granted integer[] not null default '{{}}',
    newest_bucket bigint not null default -1,
    updated_at timestamptz not null default now()
);
comment on table {schema}.rate_limits is
    'When the next requests may be sent: one row per HubSpot app, and one per account for searches. Times are PostgreSQL''s; `epoch` means never. Rows unused for 30 days are deleted. Deleting rows by hand does no harm.';
comment on column {schema}.rate_limits.limiter is
    '`app:` or `search:` with a keyed digest or account id; reveals no token.';
comment on column {schema}.rate_limits.revision is
    'Incremented by each write, to detect concurrent ones.';
comment on column {schema}.rate_limits.requests_per_window is 'Limit that HubSpot last stated.';
comment on column {schema}.rate_limits.window_s is 'Its window, if not 10 s.';
comment on column {schema}.rate_limits.last_slot_at is
    'Last time granted to a request; may be in the future.';
comment on column {schema}.rate_limits.held_until is
    'No request before this: HubSpot answered 429.';
comment on column {schema}.rate_limits.used_by_others is
    'Other integrations'' requests per window.';
comment on column {schema}.rate_limits.others_until is 'How long `used_by_others` is assumed.';
comment on column {schema}.rate_limits.start_permits is
    'Permits left of the burst after an idle window.';
comment on column {schema}.rate_limits.eased_until is
    'How long permits after the burst are spaced more widely.';
comment on column {schema}.rate_limits.corrected_at is
    'Until here, a nearly full window was followed by a pause.';
comment on column {schema}.rate_limits.granted is
    'Permits granted in each 40th of a window, newest last.';
comment on column {schema}.rate_limits.newest_bucket is 'Number of the newest of these.';

create table {schema}.oauth_tokens (
    installation text primary key,
    sealed text not null,
    expires_at timestamptz not null,
    refreshed_at timestamptz not null default now()
);
comment on table {schema}.oauth_tokens is
    'The newest tokens of each installed OAuth app, encrypted. A row that can''t be decrypted is replaced by a refresh.';
comment on column {schema}.oauth_tokens.installation is
    'Keyed digest of client id and refresh token.';
comment on column {schema}.oauth_tokens.sealed is
    'Access token, refresh token, account and scopes, encrypted with a key from the connection.';
comment on column {schema}.oauth_tokens.expires_at is
    'Of the access token, by PostgreSQL''s clock.';

-- Views of a tenant ---------------------------------------------------------------------------

create table {schema}.tenant_views (
    tenant_id text not null,
    schema_name text not null,
    role_name text not null,
    signature text not null,
    built_at timestamptz not null default now(),
    primary key (tenant_id, schema_name)
);
comment on table {schema}.tenant_views is 'Each tenant''s schemas of views.';
comment on column {schema}.tenant_views.schema_name is
    '`<schema>__<tenant>`, or `<schema>_fivetran__<tenant>`.';
comment on column {schema}.tenant_views.role_name is 'Role that may read it.';
comment on column {schema}.tenant_views.signature is
    'Hash of the views'' definition; empty: the next scan builds them again.';

-- The functions of the views' typed columns return NULL for a value that does not fit, so no query
-- of an analyst fails. Their bodies are SQL-standard ones, which PostgreSQL resolves here and now:
-- an analyst has no right to this schema.

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

-- An id. HubSpot's have up to 16 digits.
create function {schema}.as_bigint(value text) returns bigint
    language sql immutable parallel safe
    return case when value ~ '^-?[0-9]{{1,18}}$' then value::bigint end;

create function {schema}.as_list(value text) returns text[]
    language sql immutable parallel safe
    return case when value <> '' then string_to_array(trim(both ';' from value), ';') end;

-- What counts as a time is defined here and in include/warehouse/tenant_views/plan.py, in the same
-- way: docs/api-integration.md#values. The patterns match only text that PostgreSQL's own conversion
-- accepts, whatever the settings of the session.
create function {schema}.as_timestamptz(value text) returns timestamptz
    language sql stable parallel safe
    -- what lies outside the years 1 to 9999, because of a zone or by rounding, becomes one of the
    -- two bounds, and the bounds become NULL: so the conversion stands here only once
    return nullif(nullif(least(greatest(
        case
            -- how HubSpot writes nearly all of them: a short pattern is matched in half the time
            when value ~ '^[12][0-9]{{3}}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]{{3}})?Z$'
            then value::timestamptz
            -- milliseconds since 1970; seconds and the rest apart, as intervals are multiplied with
            -- double precision, which does not hold so many microseconds. PostgreSQL's times begin
            -- in 4713 BC and end in 294276: what lies beyond would be an error.
            when length(value) <= 400
                 and value ~ '^[ \t\n\r\f\v]*[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]{{1,3}})?[ \t\n\r\f\v]*$'
            then case when value::numeric > -1e14 and value::numeric < 1e15 then
                timestamptz '1970-01-01Z'
                + floor(value::numeric * 0.001)::float8 * interval '1 second'
                + (round(value::numeric * 1000)
                   - floor(value::numeric * 0.001) * 1000000)::float8 * interval '1 microsecond'
            end
            -- with a zone
            when value ~ '^[ \t\n\r\f\v]*(([0-9]{{3}}[1-9]|[0-9]{{2}}[1-9]0|[0-9][1-9]00|[1-9]000)-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))|([0-9]{{2}}(0[48]|[2468][048]|[13579][26])|(0[48]|[2468][048]|[13579][26])00)-02-29)[Tt ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.][0-9]{{1,9}})?)?([Zz]|[+-](0[0-9]|1[0-5])(:?[0-5][0-9])?)[ \t\n\r\f\v]*$'
            then value::timestamptz
            -- without one it is UTC, whatever the session's time zone is
            when value ~ '^[ \t\n\r\f\v]*(([0-9]{{3}}[1-9]|[0-9]{{2}}[1-9]0|[0-9][1-9]00|[1-9]000)-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))|([0-9]{{2}}(0[48]|[2468][048]|[13579][26])|(0[48]|[2468][048]|[13579][26])00)-02-29)([Tt ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.][0-9]{{1,9}})?)?)?[ \t\n\r\f\v]*$'
            then value::timestamp at time zone 'UTC'
        end,
        timestamptz '0001-12-31 23:59:59.999999Z BC'), timestamptz '10000-01-01Z'),
        timestamptz '0001-12-31 23:59:59.999999Z BC'), timestamptz '10000-01-01Z');

-- The day of that time in UTC.
create function {schema}.as_date(value text) returns date
    language sql stable parallel safe
    return case
        when value ~ '^[12][0-9]{{3}}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])$' then value::date
        else ({schema}.as_timestamptz(value) at time zone 'UTC')::date
    end;

-- Who may write -------------------------------------------------------------------------------

create table {schema}.tenant_leases (
    tenant_id text primary key,
    scan_id text not null references {schema}.scans on delete cascade,
    attempt integer not null,
    writer text not null generated always as ('hubspot_deals/' || scan_id || '/' || attempt) stored,
    expires_at timestamptz not null
);
comment on table {schema}.tenant_leases is
    'Which try of a scan may write a tenant''s rows: one row per running `extract_deals`.';
comment on column {schema}.tenant_leases.scan_id is 'References `scans`; deleted with it.';
comment on column {schema}.tenant_leases.writer is
    'The try''s `application_name`: `hubspot_deals/<scan id>/<attempt>`.';
comment on column {schema}.tenant_leases.expires_at is
    'Renewed every 20 s; afterwards another scan may take the tenant.';

create table {schema}.staging_slots (
    slot integer primary key,
    writer text
);
comment on table {schema}.staging_slots is 'Which try uses each staging schema.';
comment on column {schema}.staging_slots.writer is
    '`application_name` of the try that last took it. Free if NULL, or if the try has no valid lease.';

create table {schema}.locks (
    name text primary key
);
comment on table {schema}.locks is
    'Row locks for work that only one process may do at a time. Readers have no access.';
comment on column {schema}.locks.name is
    '`views:<tenant>`, `start:<tenant>` or `oauth_tokens:<installation>`.';

-- A try names its connections `hubspot_deals/<scan id>/<attempt>`. Connections with another name (a
-- person's, the API's) are let through. `for share` holds the scan's row until the statement's
-- transaction ends: a newer try, which raises `attempt`, waits for it, so no write of an earlier try
-- is committed after that.
create function {schema}.refuse_outdated() returns trigger language plpgsql as $$
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
comment on function {schema}.refuse_outdated() is
    'Refuses writes of a try after a newer try of the same scan has begun';

do $$
declare
    target text;
begin
    foreach target in array array['deals', 'records', 'associations', 'property_history',
                                  'history_reads', 'accounts', 'pipelines', 'pipeline_stages', 'owners',
                                  'users', 'teams', 'roles', 'property_definitions',
                                  'scan_objects', 'scan_chunks']
    loop
        execute format(
            'create trigger refuse_outdated before insert or update or delete on {schema}.%I'
            ' for each statement execute function {schema}.refuse_outdated()', target);
    end loop;
end
$$;
-- A try that became outdated while it waited for the tenant must not take it from the newer one.
create trigger refuse_outdated before insert or update on {schema}.tenant_leases
    for each statement execute function {schema}.refuse_outdated();

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
comment on function {schema}.refuse_strangers() is
    'Refuses writes to a staging schema by a try that does not hold its slot';

-- dlt -----------------------------------------------------------------------------------------

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

-- Staging schemas: dlt copies a chunk into one of them, and merges it from there. dlt's default is
-- one staging schema that all tenants share and truncate: tenants that load at the same time then
-- lose rows without an error. Here each load holds one of eight. The tables are logged: an unlogged
-- one is empty after a crash of PostgreSQL between COPY and MERGE.
do $$
declare
    staging text;
    target text;
begin
    for k in 1..8 loop
        staging := {schema_name} || '_stg_slot' || k;
        execute format('create schema %I', staging);
        execute format('create table %I._dlt_version (like {schema}._dlt_version)', staging);
        foreach target in array array['deals', 'records'] loop
            execute format('create table %I.%I (like {schema}.%I including compression)',
                           staging, target, target);
            -- Only the end of a scan writes these columns.
            execute format('alter table %I.%I drop column vanished_at, drop column %I',
                           staging, target, 'merged_into_' || rtrim(target, 's') || '_id');
            execute format(
                'create trigger refuse_strangers before insert or update or delete or truncate'
                ' on %I.%I for each statement execute function {schema}.refuse_strangers(%L)',
                staging, target, k);
        end loop;
        insert into {schema}.staging_slots (slot) values (k);
    end loop;
end
$$;
