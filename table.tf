# The queue's table, and the routes in it.

locals {
  default_route = {
    model_id        = var.model_id
    invocation_type = "InvokeModel"
    max_active_jobs = null
    priority        = 50
    timeout_hours   = null
    tags            = {}
  }
  routes = merge({ default = local.default_route }, var.routes)
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
      max_active_jobs = { N = tostring(coalesce(each.value.max_active_jobs, var.max_active_jobs)) }
      priority        = { N = tostring(each.value.priority) }
      tags            = { M = { for key, value in each.value.tags : key => { S = value } } }
    },
    each.value.timeout_hours == null ? {} : { timeout_hours = { N = tostring(each.value.timeout_hours) } },
  ))
}
