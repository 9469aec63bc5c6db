# The queue's table, and the routes in it.

locals {
  # What var.routes gives a route by itself; a test holds the two together.
  default_route = {
    model_id             = var.model_id
    invocation_type      = "InvokeModel"
    max_active_jobs      = null
    quota_code           = null
    reserved_slots       = 0
    priority             = 50
    timeout_hours        = null
    min_records_per_job  = 100
    max_records_per_job  = 50000
    max_records_per_file = 50000
    max_bytes_per_file   = 1000000000
    max_bytes_per_job    = 5000000000
    pack_wait_minutes    = 15
    undersized           = "reject"
    max_record_attempts  = 3
    media                = false
    prices               = null
    tags                 = {}
  }
  routes = {
    for name, route in merge({ default = local.default_route }, var.routes) :
    name => merge(route, { model_id = coalesce(route.model_id, var.model_id) })
  }

  max_active_jobs = {
    for name, route in local.routes : name => (
      route.quota_code == null ?
      coalesce(route.max_active_jobs, var.max_active_jobs) :
      data.aws_servicequotas_service_quota.active_jobs[route.quota_code].value
    )
  }
}

# The value that holds for the account: the increased one where there is one, else AWS's own.
data "aws_servicequotas_service_quota" "active_jobs" {
  for_each = toset([for route in local.routes : route.quota_code if route.quota_code != null])

  service_code = "bedrock"
  quota_code   = each.key

  lifecycle {
    # All of Bedrock's quotas are numbers: that of records taken for that of jobs would go unnoticed.
    postcondition {
      condition     = can(regex("(?i)submitted batch inference jobs", self.quota_name))
      error_message = "The quota ${each.key} is \"${self.quota_name}\": write as quota_code that of \"Sum of in-progress and submitted batch inference jobs using a base model for\" the route's model."
    }
  }
}

resource "aws_dynamodb_table" "this" {
  name                        = "${var.name}-queue"
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = "pk"
  range_key                   = "sk"
  deletion_protection_enabled = var.deletion_protection
  tags                        = local.tags

  attribute {
    name = "pk"
    type = "S"
  }

  attribute {
    name = "sk"
    type = "S"
  }

  attribute {
    name = "status_key"
    type = "S"
  }

  attribute {
    name = "order_key"
    type = "S"
  }

  global_secondary_index {
    name            = "status-index"
    hash_key        = "status_key"
    range_key       = "order_key"
    projection_type = "ALL"
  }

  ttl {
    attribute_name = "expires_at"
    enabled        = true
  }

  point_in_time_recovery {
    enabled = true
  }

  server_side_encryption {
    enabled     = true
    kms_key_arn = var.kms_key_arn
  }
}

resource "aws_dynamodb_table_item" "route" {
  for_each = local.routes

  table_name = aws_dynamodb_table.this.name
  hash_key   = aws_dynamodb_table.this.hash_key
  range_key  = aws_dynamodb_table.this.range_key

  item = jsonencode(merge(
    {
      pk              = { S = "route" }
      sk              = { S = each.key }
      model_id        = { S = each.value.model_id }
      invocation_type = { S = each.value.invocation_type }
      undersized      = { S = each.value.undersized }
      media           = { BOOL = each.value.media }
      tags            = { M = { for key, value in merge(local.tags, each.value.tags) : key => { S = value } } }
    },
    {
      for attribute, number in {
        max_active_jobs      = local.max_active_jobs[each.key]
        reserved_slots       = each.value.reserved_slots
        priority             = each.value.priority
        timeout_hours        = each.value.timeout_hours
        min_records_per_job  = each.value.min_records_per_job
        max_records_per_job  = each.value.max_records_per_job
        max_records_per_file = each.value.max_records_per_file
        max_bytes_per_file   = each.value.max_bytes_per_file
        max_bytes_per_job    = each.value.max_bytes_per_job
        pack_wait_minutes    = each.value.pack_wait_minutes
        max_record_attempts  = each.value.max_record_attempts
      } : attribute => { N = tostring(number) } if number != null
    },
    # Decimal text: a price is no binary fraction.
    each.value.prices == null ? {} : {
      input_price  = { S = tostring(each.value.prices.input_per_million_tokens) }
      output_price = { S = tostring(each.value.prices.output_per_million_tokens) }
    },
  ))

  lifecycle {
    precondition {
      condition     = each.value.reserved_slots < local.max_active_jobs[each.key]
      error_message = "The quota ${coalesce(each.value.quota_code, "of jobs")} of routes[\"${each.key}\"] is ${local.max_active_jobs[each.key]} in this account, of which ${each.value.reserved_slots} are reserved: have it increased, write fewer reserved_slots, or write max_active_jobs in place of quota_code."
    }
  }
}
