# The dashboard: does it work, does it keep up, what failed, what does it cost. Each row answers one of these.

locals {
  console = lookup(
    { aws-cn = "console.amazonaws.cn", aws-us-gov = "console.amazonaws-us-gov.com" },
    local.partition, "console.aws.amazon.com",
  )
  console_url = "https://${local.region}.${local.console}"

  green  = "#2ca02c"
  red    = "#d62728"
  orange = "#ff7f0e"
  grey   = "#7f7f7f"

  # What each run of process_batch_jobs sends makes a line only if each period has a run of the schedule.
  gauge_period = min(86400, max(900, local.rates.schedule == null ? 3600 : (
    ceil(local.rates.schedule[0] * local.unit_hours[local.rates.schedule[1]] * 60) * 60
  )))

  # Routes in order; the one that is always there last.
  route_names = concat([for name in keys(local.routes) : name if name != "default"], ["default"])
  has_prices  = anytrue([for route in local.routes : route.prices != null])

  # How uploads end, the worst last, with their color.
  upload_ends = [
    ["Completed", local.green], ["PartiallyCompleted", local.orange], ["Cancelled", local.grey], ["Stopped", "#9467bd"],
    ["Expired", "#8c564b"], ["Rejected", "#e377c2"], ["Failed", local.red],
  ]

  own       = [local.namespace]
  of_queue  = ["Queue", var.name]
  batch     = "AWS/Bedrock/Batch,ModelId"
  batch_all = "Bedrock, all batch jobs of the account:"

  # A line for each route.
  by_route = {
    for metric in ["ActiveJobs", "PendingRecords", "SlotsFree", "SlotsUsed"] : metric => [
      for route in local.route_names :
      concat(local.own, [metric], local.of_queue, ["Route", route, { label = route }])
    ]
  }

  # From top to bottom. The widgets of a row are side by side and equally wide.
  dashboard_rows = [
    {
      height = 2
      widgets = [{
        type = "text"
        properties = {
          markdown = join("\n", [
            "# ${var.name}",
            join(" · ", [
              "Runbook, by alarm and symptom: **docs/operations.md** of the module",
              "[bucket](https://s3.${local.console}/s3/buckets/${local.bucket_name}?region=${local.region})",
              "[rows](${local.console_url}/dynamodbv2/home?region=${local.region}#item-explorer?table=${aws_dynamodb_table.this.name})",
              "[batch jobs](${local.console_url}/bedrock/home?region=${local.region}#/batch-inference)",
              "[dead letters](${local.console_url}/sqs/v3/home?region=${local.region}#/queues)",
              join(" ", concat(["logs:"], [
                for key, group in aws_cloudwatch_log_group.function :
                "[${key}](${local.console_url}/cloudwatch/home?region=${local.region}#logsV2:log-groups/log-group/${replace(group.name, "/", "$252F")})"
              ])),
            ]),
            "",
            "The queue sends only what has work: a gap means zero.",
          ])
        }
      }]
    },
    {
      height = 4
      widgets = [
        {
          type = "alarm"
          properties = {
            title = "Does it work? Its alarms"
            # Built from names, which every plan knows.
            alarms = [
              for name in values(local.alarm_names) :
              "arn:${local.partition}:cloudwatch:${local.region}:${local.account_id}:alarm:${name}"
            ]
          }
        },
        {
          type = "metric"
          properties = {
            title                = "Uploads, records and cost in the time shown"
            view                 = "singleValue"
            setPeriodToTimeRange = true
            stat                 = "Sum"
            metrics = concat(
              [
                concat(local.own, ["UploadsAccepted"], local.of_queue, [{ label = "accepted" }]),
                concat(local.own, ["UploadsCompleted"], local.of_queue, [{ label = "completed", color = local.green }]),
                concat(local.own, ["UploadsPartiallyCompleted"], local.of_queue, [{ label = "partly", color = local.orange }]),
                concat(local.own, ["UploadsFailed"], local.of_queue, [{ label = "failed", color = local.red }]),
                concat(local.own, ["UploadsRejected"], local.of_queue, [{ label = "rejected", color = "#e377c2" }]),
                concat(local.own, ["RecordsSucceeded"], local.of_queue, [{ label = "answered", color = local.green }]),
                concat(local.own, ["RecordsFailed"], local.of_queue, [{ label = "records failed", color = local.red }]),
              ],
              local.has_prices ? [concat(local.own, ["Cost"], local.of_queue, [{ label = "cost" }])] : [],
            )
          }
        },
      ]
    },
    {
      height = 6
      widgets = [
        {
          type = "metric"
          properties = {
            # No line for the alarm, beside which the usual minutes would be too small to see.
            title  = "Does it keep up? Hours that the oldest work waits (alarm: ${var.pending_age_alarm_hours})"
            view   = "timeSeries"
            stat   = "Maximum"
            period = local.gauge_period
            metrics = concat(
              [for index, route in local.route_names : [{ expression = "age${index} / 3600", label = route, id = "hours${index}" }]],
              [
                for index, route in local.route_names :
                concat(local.own, ["OldestPendingAge"], local.of_queue, ["Route", route, { id = "age${index}", visible = false }])
              ],
            )
            yAxis = { left = { min = 0, label = "hours", showUnits = false } }
          }
        },
        {
          type = "metric"
          properties = {
            title   = "Records that wait in the queue"
            view    = "timeSeries"
            stacked = true
            stat    = "Maximum"
            period  = local.gauge_period
            metrics = local.by_route.PendingRecords
            yAxis   = { left = { min = 0, label = "records", showUnits = false } }
          }
        },
        {
          type = "metric"
          properties = {
            title  = "Records per hour: come and gone"
            view   = "timeSeries"
            stat   = "Sum"
            period = 3600
            metrics = [
              concat(local.own, ["RecordsAccepted"], local.of_queue, [{ label = "accepted" }]),
              concat(local.own, ["RecordsSucceeded"], local.of_queue, [{ label = "answered", color = local.green }]),
              concat(local.own, ["RecordsFailed"], local.of_queue, [{ label = "failed", color = local.red }]),
            ]
            yAxis = { left = { min = 0, label = "records", showUnits = false } }
          }
        },
      ]
    },
    {
      height = 6
      widgets = [
        {
          type = "metric"
          properties = {
            title   = "Active jobs of the queue, by route"
            view    = "timeSeries"
            stacked = true
            stat    = "Maximum"
            period  = local.gauge_period
            metrics = local.by_route.ActiveJobs
            yAxis   = { left = { min = 0, label = "jobs", showUnits = false } }
          }
        },
        {
          type = "metric"
          properties = {
            title   = "Active jobs of the whole account, for the model of a route"
            view    = "timeSeries"
            stat    = "Maximum"
            period  = local.gauge_period
            metrics = local.by_route.SlotsUsed
            yAxis   = { left = { min = 0, label = "jobs", showUnits = false } }
          }
        },
        {
          type = "metric"
          properties = {
            title  = "Free slots: jobs that a route could start"
            view   = "timeSeries"
            stat   = "Minimum"
            period = local.gauge_period
            metrics = concat(
              local.by_route.SlotsFree,
              # Why free slots are not used.
              [concat(local.own, ["PausedRoutes"], local.of_queue, [{ label = "paused routes", color = local.red, stat = "Maximum" }])],
            )
            yAxis = { left = { min = 0, label = "jobs", showUnits = false } }
          }
        },
      ]
    },
    {
      height = 6
      widgets = [
        {
          type = "metric"
          properties = {
            title   = "${local.batch_all} records pending"
            view    = "timeSeries"
            metrics = [[{ expression = "SEARCH('{${local.batch}} MetricName=\"NumberOfRecordsPendingProcessing\"', 'Maximum', 300)", id = "pending", label = "" }]]
            yAxis   = { left = { min = 0, label = "records", showUnits = false } }
          }
        },
        {
          type = "metric"
          properties = {
            title = "${local.batch_all} tokens per minute"
            view  = "timeSeries"
            metrics = [
              [{ expression = "SEARCH('{${local.batch}} MetricName=\"NumberOfInputTokensProcessedPerMinute\"', 'Average', 300)", id = "input", label = "in" }],
              [{ expression = "SEARCH('{${local.batch}} MetricName=\"NumberOfOutputTokensProcessedPerMinute\"', 'Average', 300)", id = "output", label = "out" }],
            ]
            yAxis = { left = { min = 0, label = "tokens", showUnits = false } }
          }
        },
        {
          type = "metric"
          properties = {
            title  = "Hours until the first job expires"
            view   = "timeSeries"
            stat   = "Minimum"
            period = local.gauge_period
            metrics = [
              [{ expression = "left / 3600", label = "hours left", id = "hours" }],
              concat(local.own, ["ShortestTimeToExpiry"], local.of_queue, [{ id = "left", visible = false }]),
            ]
            yAxis       = { left = { min = 0, label = "hours", showUnits = false } }
            annotations = { horizontal = [{ label = "alarm near_expiry", value = local.expiry_hours, color = local.red }] }
          }
        },
      ]
    },
    {
      height = 6
      widgets = [
        {
          type = "metric"
          properties = {
            title   = "What failed? Uploads per hour, by how they ended"
            view    = "timeSeries"
            stacked = true
            stat    = "Sum"
            period  = 3600
            metrics = [
              for end in local.upload_ends :
              concat(local.own, ["Uploads${end[0]}"], local.of_queue, [{ label = end[0], color = end[1] }])
            ]
            yAxis = { left = { min = 0, label = "uploads", showUnits = false } }
          }
        },
        {
          type = "metric"
          properties = {
            title = "Records that failed for good, percent per hour"
            view  = "timeSeries"
            metrics = [
              [{ expression = "100 * failed / (failed + succeeded)", label = "failed", id = "percent", color = local.red }],
              concat(local.own, ["RecordsFailed"], local.of_queue, [{ id = "failed", visible = false }]),
              concat(local.own, ["RecordsSucceeded"], local.of_queue, [{ id = "succeeded", visible = false }]),
            ]
            stat   = "Sum"
            period = 3600
            yAxis  = { left = { min = 0, label = "percent", showUnits = false } }
            annotations = {
              horizontal = [
                for percent in var.failed_records_alarm_percent == null ? [] : [var.failed_records_alarm_percent] :
                { label = "alarm failed_records", value = percent, color = local.red }
              ]
            }
          }
        },
        {
          type = "metric"
          properties = {
            title  = "Errors of the functions, and what failed for good"
            view   = "timeSeries"
            stat   = "Sum"
            period = 900
            metrics = concat(
              [for key, function in local.functions : ["AWS/Lambda", "Errors", "FunctionName", function.name, { label = key }]],
              [
                ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", aws_sqs_queue.dead_letters.name, {
                  label = "dead letters", stat = "Maximum", color = local.red
                }],
              ],
            )
            yAxis = { left = { min = 0, label = "errors", showUnits = false } }
          }
        },
      ]
    },
    {
      height = 6
      widgets = [
        {
          type = "metric"
          properties = {
            title   = local.has_prices ? "What does it cost? By day and route, in the currency of prices" : "What does it cost? Input tokens by day and route"
            view    = "timeSeries"
            stacked = true
            stat    = "Sum"
            period  = 86400
            metrics = [
              for route in local.route_names :
              concat(local.own, [local.has_prices ? "Cost" : "InputTokens"], local.of_queue, ["Route", route, { label = route }])
              if !local.has_prices || local.routes[route].prices != null
            ]
            yAxis = { left = { min = 0, showUnits = false } }
          }
        },
        {
          type = "metric"
          properties = {
            title   = "Tokens per hour"
            view    = "timeSeries"
            stacked = true
            stat    = "Sum"
            period  = 3600
            metrics = [
              concat(local.own, ["InputTokens"], local.of_queue, [{ label = "input" }]),
              concat(local.own, ["OutputTokens"], local.of_queue, [{ label = "output" }]),
            ]
            yAxis = { left = { min = 0, label = "tokens", showUnits = false } }
          }
        },
      ]
    },
  ]

  dashboard_widgets = flatten([
    for number, row in local.dashboard_rows : [
      for place, widget in row.widgets : {
        type       = widget.type
        x          = place * 24 / length(row.widgets)
        y          = sum(concat([0], [for above in slice(local.dashboard_rows, 0, number) : above.height]))
        width      = 24 / length(row.widgets)
        height     = row.height
        properties = merge(widget.properties, widget.type == "metric" ? { region = local.region } : {})
      }
    ]
  ])
}

resource "aws_cloudwatch_dashboard" "this" {
  count = var.create_dashboard ? 1 : 0

  dashboard_name = "${var.name}-${local.region}"
  dashboard_body = jsonencode({ start = "-P3D", periodOverride = "inherit", widgets = local.dashboard_widgets })
}
