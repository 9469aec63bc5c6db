# The queue's own events. The stream of the table (table.tf) is their outbox: DynamoDB writes each change of a row to it
# together with the row, and keeps it for 24 hours. publish_events sends what the changes tell.

locals {
  event_bus_arn = coalesce(
    var.event_bus_arn, "arn:${local.partition}:events:${local.region}:${local.account_id}:event-bus/default"
  )

  terminal_statuses = ["Completed", "PartiallyCompleted", "Failed", "Stopped", "Expired", "Rejected", "Cancelled"]

  active_statuses = ["Pending", "Submitting", "Submitted", "Validating", "Scheduled", "InProgress", "Stopping"]

  # The changes that can be events; no other one costs an invocation. Lambda filters by what is in dynamodb alone, and
  # "exists" does not see what is missing at a higher level: plain values are enough. A deleted row has no NewImage.
  event_filters = {
    # A row that is new, or that takes the place of one about an object that could not be read.
    new_upload = {
      Keys     = { sk = { S = ["upload"] } }
      NewImage = { status = { S = ["Pending", "Rejected", "Cancelled", "Failed"] } }
    }
    submitted_job = {
      Keys     = { sk = { S = ["job"] } }
      OldImage = { status = { S = ["Submitting"] } }
      NewImage = { status = { S = ["Submitted", "InProgress"] } }
    }
    end = {
      Keys     = { sk = { S = ["upload", "job"] } }
      OldImage = { status = { S = local.active_statuses } }
      NewImage = { status = { S = local.terminal_statuses } }
    }
  }
}

# What fails holds up what comes after it for half a day at most. Then its place in the stream goes to the dead-letter
# queue, and half a day is left to read it there.
resource "aws_lambda_event_source_mapping" "stream" {
  event_source_arn = aws_dynamodb_table.this.stream_arn
  function_name    = aws_lambda_function.this["publish_events"].arn
  tags             = local.tags

  # Of a table whose stream is as old as this: everything.
  starting_position                  = "TRIM_HORIZON"
  batch_size                         = 100
  maximum_batching_window_in_seconds = 5
  function_response_types            = ["ReportBatchItemFailures"]
  bisect_batch_on_function_error     = true
  maximum_retry_attempts             = -1
  maximum_record_age_in_seconds      = 43200

  filter_criteria {
    dynamic "filter" {
      for_each = local.event_filters

      content {
        pattern = jsonencode({ dynamodb = filter.value })
      }
    }
  }

  destination_config {
    on_failure {
      destination_arn = aws_sqs_queue.dead_letters.arn
    }
  }

  # Lambda refuses a stream that the role may not read yet.
  depends_on = [aws_iam_role_policy.publish_events]
}
