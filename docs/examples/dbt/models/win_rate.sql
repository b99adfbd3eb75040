-- One row for each pipeline and month of the close date: closed deals, and how many were won.
select
    stages.pipeline_id,
    stages.pipeline_label,
    date_trunc('month', deals.closedate at time zone 'UTC')::date as close_month,
    count(*) as closed,
    count(*) filter (where stages.is_won) as won,
    round(count(*) filter (where stages.is_won)::numeric / count(*), 4) as win_rate,
    coalesce(sum(deals.amount) filter (where stages.is_won), 0) as amount_won
from {{ source('hubspot', 'deals') }} as deals
inner join {{ ref('stages') }} as stages
    on deals.pipeline = stages.pipeline_id and deals.dealstage = stages.stage_id
where stages.is_closed and deals.closedate is not null
group by 1, 2, 3
