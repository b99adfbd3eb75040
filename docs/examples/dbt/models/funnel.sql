-- One row for each stage: the deals that are in it now, and those that ever entered it.
with now as (
    select
        pipeline as pipeline_id,
        dealstage as stage_id,
        count(*) as deals,
        sum(amount) as amount
    from {{ source('hubspot', 'deals') }}
    group by 1, 2
),

entered as (
    select pipeline_id, stage_id, count(distinct deal_id) as deals
    from {{ ref('stage_visits') }}
    group by 1, 2
)

select
    stages.pipeline_id,
    stages.stage_id,
    stages.pipeline_label,
    stages.stage_label,
    stages.position,
    coalesce(now.deals, 0) as deals,
    coalesce(now.amount, 0) as amount,
    coalesce(entered.deals, 0) as deals_entered
from {{ ref('stages') }} as stages
left join now using (pipeline_id, stage_id)
left join entered using (pipeline_id, stage_id)
