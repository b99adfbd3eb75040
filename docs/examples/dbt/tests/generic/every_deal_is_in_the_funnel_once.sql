-- Fails if the funnel holds more or fewer deals than the tenant's view: a join lost or doubled some.
{% test every_deal_is_in_the_funnel_once(model) %}
select funnel.deals, live.deals as live_deals
from (select sum(deals) as deals from {{ model }}) as funnel
cross join (
    select count(*) as deals
    from {{ source('hubspot', 'deals') }}
    where pipeline is not null and dealstage is not null
) as live
where coalesce(funnel.deals, 0) <> live.deals
{% endtest %}
