-- One definition of what is read as a time, here and in include/warehouse/tenant_views/plan.py:
-- docs/api-integration.md#values. The patterns let only those texts through that PostgreSQL's own
-- conversion takes, whatever the settings of the session, so no query of an analyst fails.

create or replace function {schema}.as_timestamptz(value text) returns timestamptz
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
create or replace function {schema}.as_date(value text) returns date
    language sql stable parallel safe
    return case
        when value ~ '^[12][0-9]{{3}}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])$' then value::date
        else ({schema}.as_timestamptz(value) at time zone 'UTC')::date
    end;
