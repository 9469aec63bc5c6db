# What clients (bedrock-batch, docs/client.md) need to know of the queue: one row, so that its name and the right to read
# its table are enough to find everything else.

resource "aws_dynamodb_table_item" "about" {
  table_name = aws_dynamodb_table.this.name
  hash_key   = aws_dynamodb_table.this.hash_key
  range_key  = aws_dynamodb_table.this.range_key

  item = jsonencode(merge(
    {
      pk        = { S = "about" }
      sk        = { S = "queue" }
      functions = { M = { for key, function in local.functions : key => { S = function.name } } }
      rules = {
        M = {
          for key, rule in merge(local.rules, { for rule in aws_cloudwatch_event_rule.sweep : "sweep" => rule }) :
          key => { S = rule.name }
        }
      }
    },
    {
      for key, text in {
        version           = local.module_version
        name              = var.name
        account_id        = local.account_id
        region            = local.region
        bucket            = local.bucket_name
        bucket_owner      = var.bucket_owner
        input_prefix      = var.input_prefix
        output_prefix     = var.output_prefix
        media_prefixes    = join(",", local.media_prefixes)
        kms_key_arn       = var.kms_key_arn
        role_arn          = local.bedrock_role_arn
        dead_letter_queue = aws_sqs_queue.dead_letters.url
        dashboard         = one([for dashboard in aws_cloudwatch_dashboard.this : dashboard.dashboard_name])
      } : key => { S = text } if text != null
    },
  ))
}
