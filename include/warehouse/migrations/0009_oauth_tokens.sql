-- Access tokens of OAuth apps, which all processes share.
-- docs/database-schema.md explains every column.

create table {schema}.oauth_tokens (
    installation text primary key,
    sealed text not null,
    expires_at timestamptz not null,
    refreshed_at timestamptz not null default now()
);
comment on table {schema}.oauth_tokens is
    'The newest tokens of each installed OAuth app, encrypted with what only its connection holds';
comment on column {schema}.oauth_tokens.installation is
    'Keyed digest of client id and refresh token; neither can be found from it';
