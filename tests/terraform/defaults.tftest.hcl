# Given the one required input, what is planned.

mock_provider "aws" {
  source          = "./tests/terraform/mocks"
  override_during = plan
}

# One ARN each, to tell them apart by.
override_resource {
  target          = aws_cloudwatch_event_rule.schedule
  values          = { arn = "arn:aws:events:us-east-1:123456789012:rule/schedule" }
  override_during = plan
}

override_resource {
  target          = aws_cloudwatch_event_rule.job_state
  values          = { arn = "arn:aws:events:us-east-1:123456789012:rule/job-state" }
  override_during = plan
}

override_resource {
  target          = aws_cloudwatch_event_rule.sweep
  values          = { arn = "arn:aws:events:us-east-1:123456789012:rule/sweep" }
  override_during = plan
}

variables {
  model_id = "anthropic.claude-haiku-4-5-20251001-v1:0"
}

run "names" {
  command = plan

  assert {
    condition     = aws_s3_bucket.this[0].bucket == "br-batch-inference-123456789012-us-east-1"
    error_message = "The bucket is named {name}-{account}-{region}."
  }

  assert {
    condition     = aws_dynamodb_table.this.name == "br-batch-inference-queue"
    error_message = "The table is named {name}-queue."
  }

  assert {
    condition = [for key in ["create_batch_queue", "process_batch_jobs", "collect_results", "operate_queue", "publish_events"] : aws_lambda_function.this[key].function_name] == [
      "br-batch-inference-create-batch-queue-us-east-1",
      "br-batch-inference-process-batch-jobs-us-east-1",
      "br-batch-inference-collect-results-us-east-1",
      "br-batch-inference-operate-queue-us-east-1",
      "br-batch-inference-publish-events-us-east-1",
    ]
    error_message = "The functions are named {name}-<function>-{region}."
  }

  assert {
    condition     = alltrue([for key, role in aws_iam_role.function : role.name == aws_lambda_function.this[key].function_name])
    error_message = "A function's role has the function's name."
  }

  assert {
    condition     = aws_iam_role.bedrock[0].name == "br-batch-inference-bedrock-us-east-1"
    error_message = "The service role is named {name}-bedrock-{region}."
  }

  assert {
    condition = [aws_cloudwatch_event_rule.schedule.name, aws_cloudwatch_event_rule.job_state.name, aws_cloudwatch_event_rule.sweep[0].name] == [
      "br-batch-inference-schedule-us-east-1", "br-batch-inference-job-state-us-east-1", "br-batch-inference-sweep-us-east-1",
    ]
    error_message = "The rules are named {name}-schedule-{region}, {name}-job-state-{region} and {name}-sweep-{region}."
  }

  assert {
    condition     = aws_sqs_queue.dead_letters.name == "br-batch-inference-dead-letters-us-east-1"
    error_message = "The dead-letter queue is named {name}-dead-letters-{region}."
  }

  assert {
    condition     = alltrue([for key, group in aws_cloudwatch_log_group.function : group.name == "/aws/lambda/${aws_lambda_function.this[key].function_name}"])
    error_message = "A log group is named /aws/lambda/<function>."
  }
}

run "functions" {
  command = plan

  assert {
    condition     = alltrue([for key, function in aws_lambda_function.this : function.handler == "${key}.handler" && function.runtime == "python3.13" && function.architectures == tolist(["arm64"]) && function.memory_size == 1024])
    error_message = "Each function runs <function>.handler on python3.13 and arm64 with 1024 MB."
  }

  assert {
    condition     = { for key, function in aws_lambda_function.this : key => function.timeout } == { create_batch_queue = 900, process_batch_jobs = 300, collect_results = 900, operate_queue = 900, publish_events = 60 }
    error_message = "The time-outs are 300 seconds for process_batch_jobs, 60 for publish_events and 900 for the others."
  }

  assert {
    condition     = alltrue([for function in aws_lambda_function.this : function.source_code_hash == filebase64sha256("dist/lambdas.zip")])
    error_message = "The functions run the committed package."
  }

  assert {
    condition = alltrue([
      for key, function in aws_lambda_function.this :
      function.logging_config[0].log_format == "JSON" && function.logging_config[0].log_group == aws_cloudwatch_log_group.function[key].name
    ])
    error_message = "The functions write JSON logs into their own log group."
  }

  assert {
    condition     = alltrue([for function in aws_lambda_function.this : length(function.vpc_config) == 0])
    error_message = "Without the input vpc the functions run outside any VPC."
  }

  assert {
    condition = alltrue([
      for function in aws_lambda_function.this :
      function.environment[0].variables.NAME == "br-batch-inference" &&
      function.environment[0].variables.TABLE == "br-batch-inference-queue" &&
      function.environment[0].variables.BUCKET == "br-batch-inference-123456789012-us-east-1" &&
      function.environment[0].variables.INPUT_PREFIX == "to-process/" &&
      function.environment[0].variables.OUTPUT_PREFIX == "processed/" &&
      function.environment[0].variables.WORK_PREFIX == "jobs/" &&
      function.environment[0].variables.MEDIA_PREFIXES == "to-process/" &&
      function.environment[0].variables.BUCKET_OWNER == "" &&
      function.environment[0].variables.ROW_RETENTION_DAYS == "" &&
      function.environment[0].variables.KMS_KEY_ARN == "" &&
      function.environment[0].variables.LOG_LEVEL == "INFO"
    ])
    error_message = "Each function is told name, table, bucket, prefixes, key and log level."
  }

  assert {
    condition = alltrue([
      for key in ["create_batch_queue", "collect_results", "operate_queue"] :
      aws_lambda_function.this[key].environment[0].variables.PROCESS_FUNCTION == aws_lambda_function.this["process_batch_jobs"].function_name
    ])
    error_message = "The others are told how to wake process_batch_jobs."
  }

  assert {
    condition     = { for key, config in aws_lambda_function_recursion_config.this : config.function_name => config.recursive_loop } == { for function in aws_lambda_function.this : function.function_name => "Allow" }
    error_message = "Lambda lets the functions invoke themselves and each other for as long as there is work."
  }

  assert {
    condition = (
      aws_lambda_function.this["process_batch_jobs"].environment[0].variables.COLLECT_FUNCTION == aws_lambda_function.this["collect_results"].function_name &&
      aws_lambda_function.this["operate_queue"].environment[0].variables.CREATE_FUNCTION == aws_lambda_function.this["create_batch_queue"].function_name &&
      aws_lambda_function.this["operate_queue"].environment[0].variables.COLLECT_FUNCTION == aws_lambda_function.this["collect_results"].function_name &&
      aws_lambda_function.this["process_batch_jobs"].environment[0].variables.OPERATE_FUNCTION == aws_lambda_function.this["operate_queue"].function_name &&
      aws_lambda_function.this["process_batch_jobs"].environment[0].variables.ROLE_ARN == aws_iam_role.bedrock[0].arn &&
      aws_lambda_function.this["process_batch_jobs"].environment[0].variables.JOB_VPC == ""
    )
    error_message = "process_batch_jobs is told the function, role and VPC for its jobs."
  }
}

run "failures_are_kept" {
  command = plan

  assert {
    condition     = alltrue([for function in aws_lambda_function.this : function.dead_letter_config[0].target_arn == aws_sqs_queue.dead_letters.arn])
    error_message = "What a function cannot handle goes to the dead-letter queue."
  }

  assert {
    condition     = alltrue([for config in aws_lambda_function_event_invoke_config.this : config.maximum_retry_attempts == 2 && config.maximum_event_age_in_seconds == 21600]) && length(aws_lambda_function_event_invoke_config.this) == 5
    error_message = "An event is tried again twice, and for six hours where Lambda cannot run it."
  }

  assert {
    condition = (
      alltrue([for target in concat(values(aws_cloudwatch_event_target.process_batch_jobs), aws_cloudwatch_event_target.sweep) : target.dead_letter_config[0].arn == aws_sqs_queue.dead_letters.arn]) &&
      length(aws_cloudwatch_event_target.process_batch_jobs) == 2 && length(aws_cloudwatch_event_target.sweep) == 1
    )
    error_message = "What a rule cannot deliver goes to the dead-letter queue."
  }

  assert {
    condition     = aws_sqs_queue.dead_letters.message_retention_seconds == 14 * 24 * 3600 && aws_sqs_queue.dead_letters.sqs_managed_sse_enabled
    error_message = "Dead letters are kept for 14 days, encrypted."
  }

  assert {
    condition = anytrue([
      for statement in data.aws_iam_policy_document.dead_letters.statement :
      statement.sid == "AllowOurRules" && contains(statement.actions, "sqs:SendMessage") &&
      anytrue([for condition in statement.condition : condition.variable == "aws:SourceArn" && length(condition.values) == 3])
    ])
    error_message = "EventBridge may send dead letters for the three rules only."
  }
}

run "permissions" {
  command = plan

  assert {
    condition = { for statement in data.aws_iam_policy_document.role["create_batch_queue"].statement : statement.sid => [toset(statement.actions), toset(statement.resources)] } == {
      ReadUploads           = [toset(["s3:GetObject", "s3:GetObjectVersion"]), toset(["arn:aws:s3:::br-batch-inference-123456789012-us-east-1/to-process/*"])]
      WriteReports          = [toset(["s3:PutObject"]), toset([for kind in ["summary", "rejected"] : "arn:aws:s3:::br-batch-inference-123456789012-us-east-1/processed/*.${kind}.json"])]
      ReadReports           = [toset(["s3:GetObject", "s3:GetObjectVersion"]), toset([for kind in ["summary", "rejected"] : "arn:aws:s3:::br-batch-inference-123456789012-us-east-1/processed/*.${kind}.json"])]
      ListUploadsAndReports = [toset(["s3:ListBucketVersions"]), toset(["arn:aws:s3:::br-batch-inference-123456789012-us-east-1"])]
      QueueUploads          = [toset(["dynamodb:BatchGetItem", "dynamodb:ConditionCheckItem", "dynamodb:DeleteItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:UpdateItem"]), toset(["arn:aws:dynamodb:us-east-1:123456789012:table/br-batch-inference-queue"])]
      KeepReadingState      = [toset(["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"]), toset(["arn:aws:s3:::br-batch-inference-123456789012-us-east-1/jobs/reading/*"])]

      SeeThatObjectsAreGoneAndListWorkArea = [toset(["s3:ListBucket"]), toset(["arn:aws:s3:::br-batch-inference-123456789012-us-east-1"])]

      WakeProcessBatchJobsAndGoOn = [toset(["lambda:InvokeFunction"]), toset([for function in ["create-batch-queue", "process-batch-jobs"] : "arn:aws:lambda:us-east-1:123456789012:function:br-batch-inference-${function}-us-east-1"])]
    }
    error_message = "create_batch_queue lists and reads uploads and reports, writes reports, keeps where it stands, and wakes process_batch_jobs and itself."
  }

  assert {
    condition = one(flatten([
      for statement in data.aws_iam_policy_document.role["create_batch_queue"].statement :
      [for condition in statement.condition : "${condition.test} ${condition.variable} ${join(" ", condition.values)}"] if statement.sid == "ListUploadsAndReports"
    ])) == "StringLike s3:prefix to-process/* processed/*"
    error_message = "create_batch_queue lists the versions of uploads and results, and of nothing else in the bucket."
  }

  assert {
    condition = {
      for statement in data.aws_iam_policy_document.role["process_batch_jobs"].statement :
      statement.sid => [toset(statement.actions), toset(statement.resources)] if anytrue([for action in statement.actions : startswith(action, "s3:") || startswith(action, "lambda:")])
      } == {
      ReadUploads           = [toset(["s3:GetObject", "s3:GetObjectVersion"]), toset(["arn:aws:s3:::br-batch-inference-123456789012-us-east-1/to-process/*"])]
      SeeThatUploadsAreGone = [toset(["s3:ListBucket"]), toset(["arn:aws:s3:::br-batch-inference-123456789012-us-east-1"])]
      ReadRecordsToRunAgain = [toset(["s3:GetObject"]), toset(["arn:aws:s3:::br-batch-inference-123456789012-us-east-1/jobs/*/retry/*"])]
      StageInputs           = [toset(["s3:AbortMultipartUpload", "s3:PutObject"]), toset(["arn:aws:s3:::br-batch-inference-123456789012-us-east-1/jobs/*/in/*"])]
      CollectResultsAndGoOn = [toset(["lambda:InvokeFunction"]), toset([for function in ["collect-results", "operate-queue", "process-batch-jobs"] : "arn:aws:lambda:us-east-1:123456789012:function:br-batch-inference-${function}-us-east-1"])]
    }
    error_message = "process_batch_jobs stages uploads and records to run again, and invokes collect_results, operate_queue and itself; it reads no other object."
  }

  assert {
    condition = { for statement in data.aws_iam_policy_document.role["collect_results"].statement : statement.sid => [toset(statement.actions), toset(statement.resources)] } == {
      SettleUploads         = [toset(["dynamodb:BatchGetItem", "dynamodb:DeleteItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:UpdateItem"]), toset(["arn:aws:dynamodb:us-east-1:123456789012:table/br-batch-inference-queue"])]
      ReadAndClearWorkArea  = [toset(["s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject"]), toset([for part in ["in", "out", "retry", "settled"] : "arn:aws:s3:::br-batch-inference-123456789012-us-east-1/jobs/*/${part}/*"])]
      WriteWorkArea         = [toset(["s3:PutObject"]), toset([for part in ["out", "retry", "settled"] : "arn:aws:s3:::br-batch-inference-123456789012-us-east-1/jobs/*/${part}/*"])]
      FindUnfinishedUploads = [toset(["s3:ListBucketMultipartUploads"]), toset(["arn:aws:s3:::br-batch-inference-123456789012-us-east-1"])]
      ReadUploads           = [toset(["s3:GetObject", "s3:GetObjectVersion"]), toset(["arn:aws:s3:::br-batch-inference-123456789012-us-east-1/to-process/*"])]

      ListJobOutputsAndSeeThatUploadsAreGone = [toset(["s3:ListBucket"]), toset(["arn:aws:s3:::br-batch-inference-123456789012-us-east-1"])]
      WriteResults                           = [toset(["s3:AbortMultipartUpload", "s3:PutObject"]), toset(["arn:aws:s3:::br-batch-inference-123456789012-us-east-1/processed/*"])]
      WakeProcessBatchJobsAndGoOn            = [toset(["lambda:InvokeFunction"]), toset([for function in ["collect-results", "process-batch-jobs"] : "arn:aws:lambda:us-east-1:123456789012:function:br-batch-inference-${function}-us-east-1"])]
    }
    error_message = "collect_results works in the work area, writes results, and wakes process_batch_jobs and itself; it invokes no model."
  }

  assert {
    condition = { for statement in data.aws_iam_policy_document.role["operate_queue"].statement : statement.sid => [toset(statement.actions), toset(statement.resources)] } == {
      GiveOrders              = [toset(["dynamodb:BatchGetItem", "dynamodb:DeleteItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:UpdateItem"]), toset(["arn:aws:dynamodb:us-east-1:123456789012:table/br-batch-inference-queue"])]
      ListUploads             = [toset(["s3:ListBucketVersions"]), toset(["arn:aws:s3:::br-batch-inference-123456789012-us-east-1"])]
      ReadUploads             = [toset(["s3:GetObject", "s3:GetObjectVersion"]), toset(["arn:aws:s3:::br-batch-inference-123456789012-us-east-1/to-process/*"])]
      SeeThatUploadsAreGone   = [toset(["s3:ListBucket"]), toset(["arn:aws:s3:::br-batch-inference-123456789012-us-east-1"])]
      ReadResults             = [toset(["s3:GetObject", "s3:GetObjectVersion"]), toset(["arn:aws:s3:::br-batch-inference-123456789012-us-east-1/processed/*.out"])]
      WriteRecordsToRunAgain  = [toset(["s3:AbortMultipartUpload", "s3:PutObject"]), toset([for part in ["retry", "settled"] : "arn:aws:s3:::br-batch-inference-123456789012-us-east-1/jobs/*/${part}/*"])]
      StopJobs                = [toset(["bedrock:StopModelInvocationJob"]), toset(["arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/*"])]
      ListJobs                = [toset(["bedrock:ListModelInvocationJobs"]), toset(["*"])]
      HaveUploadsEndedAndGoOn = [toset(["lambda:InvokeFunction"]), toset([for function in ["collect-results", "operate-queue", "process-batch-jobs"] : "arn:aws:lambda:us-east-1:123456789012:function:br-batch-inference-${function}-us-east-1"])]
      StartSweeps             = [toset(["lambda:InvokeFunction"]), toset(["arn:aws:lambda:us-east-1:123456789012:function:br-batch-inference-create-batch-queue-us-east-1"])]
    }
    error_message = "operate_queue stops jobs but creates none, writes no result, and deletes no object."
  }

  assert {
    condition = {
      for key in keys(output.policies) : key => {
        for statement in data.aws_iam_policy_document.role["policy_${key}"].statement :
        statement.sid => [toset(statement.actions), toset(statement.resources)]
      }
      } == {
      submit = {
        Upload = [toset(["s3:PutObject", "s3:AbortMultipartUpload"]), toset(["arn:aws:s3:::br-batch-inference-123456789012-us-east-1/to-process/*"])]
      }
      read = {
        ReadUploadsAndResults = [toset(["s3:GetObjectVersion", "s3:GetObject"]), toset([for prefix in ["to-process", "processed"] : "arn:aws:s3:::br-batch-inference-123456789012-us-east-1/${prefix}/*"])]
        ListUploadsAndResults = [toset(["s3:ListBucketVersions", "s3:ListBucket"]), toset(["arn:aws:s3:::br-batch-inference-123456789012-us-east-1"])]
        ReadRows              = [toset(["dynamodb:Query", "dynamodb:GetItem", "dynamodb:BatchGetItem"]), toset(["arn:aws:dynamodb:us-east-1:123456789012:table/br-batch-inference-queue/index/status-index", "arn:aws:dynamodb:us-east-1:123456789012:table/br-batch-inference-queue"])]
      }
      operate = {
        GiveOrders      = [toset(["lambda:InvokeFunction"]), toset(["arn:aws:lambda:us-east-1:123456789012:function:br-batch-inference-operate-queue-us-east-1"])]
        SeeNotification = [toset(["s3:GetBucketNotification"]), toset(["arn:aws:s3:::br-batch-inference-123456789012-us-east-1"])]
        SeeRules        = [toset(["events:DescribeRule", "events:ListTargetsByRule"]), toset([for rule in ["job-state", "schedule", "sweep"] : "arn:aws:events:us-east-1:123456789012:rule/br-batch-inference-${rule}-us-east-1"])]
        SeeFunctions    = [toset(["lambda:GetFunctionConfiguration"]), toset([for function in ["create-batch-queue", "process-batch-jobs", "collect-results", "operate-queue", "publish-events"] : "arn:aws:lambda:us-east-1:123456789012:function:br-batch-inference-${function}-us-east-1"])]
        SeeDeadLetters  = [toset(["sqs:GetQueueAttributes"]), toset(["arn:aws:sqs:us-east-1:123456789012:br-batch-inference-dead-letters-us-east-1"])]
        SeeModels       = [toset(["bedrock:GetFoundationModel"]), toset(["arn:aws:bedrock:us-east-1::foundation-model/*"])]
        SeeQuotas       = [toset(["servicequotas:GetServiceQuota", "servicequotas:ListServiceQuotas"]), toset(["*"])]
      }
    }
    error_message = "policies lets other stacks upload, read, or give orders and see what the queue is made of, and no more."
  }
}

run "events" {
  command = plan

  assert {
    condition     = aws_dynamodb_table.this.stream_enabled && aws_dynamodb_table.this.stream_view_type == "NEW_AND_OLD_IMAGES"
    error_message = "The stream of the table has the rows before and after each change."
  }

  assert {
    condition = (
      aws_lambda_event_source_mapping.stream.event_source_arn == aws_dynamodb_table.this.stream_arn &&
      aws_lambda_event_source_mapping.stream.function_name == aws_lambda_function.this["publish_events"].arn &&
      aws_lambda_event_source_mapping.stream.starting_position == "TRIM_HORIZON"
    )
    error_message = "publish_events gets everything that is in the stream."
  }

  assert {
    condition = (
      aws_lambda_event_source_mapping.stream.function_response_types == toset(["ReportBatchItemFailures"]) &&
      aws_lambda_event_source_mapping.stream.bisect_batch_on_function_error &&
      aws_lambda_event_source_mapping.stream.maximum_retry_attempts == -1 &&
      aws_lambda_event_source_mapping.stream.maximum_record_age_in_seconds == 43200 &&
      aws_lambda_event_source_mapping.stream.destination_config[0].on_failure[0].destination_arn == aws_sqs_queue.dead_letters.arn
    )
    error_message = "What fails is tried again for half a day. Then its place in the stream goes to the dead-letter queue."
  }

  assert {
    condition = (
      length(aws_lambda_event_source_mapping.stream.filter_criteria[0].filter) <= 5 &&
      alltrue([
        for filter in aws_lambda_event_source_mapping.stream.filter_criteria[0].filter :
        keys(jsondecode(filter.pattern)) == ["dynamodb"] && length(jsondecode(filter.pattern).dynamodb.NewImage.status.S) > 0 &&
        length(setsubtract(jsondecode(filter.pattern).dynamodb.Keys.sk.S, ["upload", "job"])) == 0
      ])
    )
    error_message = "Only rows of uploads and jobs that are stored or changed cost an invocation. Lambda takes five filters."
  }

  assert {
    condition = { for statement in data.aws_iam_policy_document.role["publish_events"].statement : statement.sid => [toset(statement.actions), toset(statement.resources)] } == {
      ReadStream = [toset(["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:ListStreams"]), toset(["arn:aws:dynamodb:us-east-1:123456789012:table/br-batch-inference-queue/stream/*"])]
      ReadPrices = [toset(["dynamodb:GetItem"]), toset(["arn:aws:dynamodb:us-east-1:123456789012:table/br-batch-inference-queue"])]
      SendEvents = [toset(["events:PutEvents"]), toset(["arn:aws:events:us-east-1:123456789012:event-bus/default"])]
    }
    error_message = "publish_events reads the stream and the prices, and sends events to the default bus."
  }

  assert {
    condition = one(flatten([
      for statement in data.aws_iam_policy_document.role["publish_events"].statement :
      [for condition in statement.condition : "${condition.test} ${condition.variable} ${join(" ", condition.values)}"] if statement.sid == "ReadPrices"
    ])) == "ForAllValues:StringEquals dynamodb:LeadingKeys route"
    error_message = "Of the table, publish_events reads the routes alone."
  }

  assert {
    condition = {
      for name in ["EVENT_BUS_ARN", "NOTIFICATION_TOPIC_ARN", "NOTIFY_ON"] : name => aws_lambda_function.this["publish_events"].environment[0].variables[name]
      } == {
      EVENT_BUS_ARN          = "arn:aws:events:us-east-1:123456789012:event-bus/default"
      NOTIFICATION_TOPIC_ARN = ""
      NOTIFY_ON              = "Cancelled,Expired,Failed,PartiallyCompleted,Rejected,Stopped"
    }
    error_message = "Events go to the default bus, and messages to nobody."
  }
}

run "no_traces" {
  command = plan

  assert {
    condition = (
      alltrue([for function in aws_lambda_function.this : function.tracing_config[0].mode == "PassThrough"]) &&
      !anytrue(flatten([for document in data.aws_iam_policy_document.role : [for statement in document.statement : statement.sid == "SendTraces"]]))
    )
    error_message = "Without the input tracing nothing is traced, and no role may send traces."
  }
}

run "triggers" {
  command = plan

  assert {
    condition = (
      aws_s3_bucket_notification.this[0].lambda_function[0].filter_prefix == "to-process/" &&
      aws_s3_bucket_notification.this[0].lambda_function[0].filter_suffix == ".jsonl" &&
      aws_s3_bucket_notification.this[0].lambda_function[0].events == toset(["s3:ObjectCreated:*"])
    )
    error_message = "Each new .jsonl under to-process/ is an upload, and nothing else is."
  }

  assert {
    condition = (
      aws_lambda_permission.bucket.function_name == aws_lambda_function.this["create_batch_queue"].function_name &&
      aws_lambda_permission.bucket.principal == "s3.amazonaws.com" &&
      aws_lambda_permission.bucket.source_account == "123456789012" &&
      aws_lambda_permission.bucket.source_arn == "arn:aws:s3:::${aws_s3_bucket.this[0].bucket}"
    )
    error_message = "S3 may invoke create_batch_queue for our bucket in our account only."
  }

  assert {
    condition     = aws_cloudwatch_event_rule.schedule.schedule_expression == "rate(15 minutes)"
    error_message = "The schedule is every 15 minutes."
  }

  assert {
    condition = jsondecode(aws_cloudwatch_event_rule.job_state.event_pattern) == {
      source      = ["aws.bedrock"]
      detail-type = ["Batch Inference Job State Change"]
      detail = {
        batchJobName = [{ prefix = "br-batch-inference-" }]
        status       = [{ anything-but = ["Submitted", "Validating", "Scheduled"] }]
      }
    }
    error_message = "The event rule takes Bedrock's state changes of our jobs only."
  }

  assert {
    condition = alltrue([
      for key, rule in { schedule = aws_cloudwatch_event_rule.schedule, job_state = aws_cloudwatch_event_rule.job_state } :
      aws_lambda_permission.rule[key].principal == "events.amazonaws.com" &&
      aws_lambda_permission.rule[key].source_arn == rule.arn &&
      aws_lambda_permission.rule[key].function_name == aws_lambda_function.this["process_batch_jobs"].function_name &&
      aws_cloudwatch_event_target.process_batch_jobs[key].rule == rule.name
    ])
    error_message = "Each rule invokes process_batch_jobs, and nothing but the rule may."
  }

  assert {
    condition = (
      aws_cloudwatch_event_rule.sweep[0].schedule_expression == "rate(1 day)" &&
      aws_cloudwatch_event_target.sweep[0].rule == aws_cloudwatch_event_rule.sweep[0].name &&
      aws_cloudwatch_event_target.sweep[0].arn == aws_lambda_function.this["create_batch_queue"].arn &&
      jsondecode(aws_cloudwatch_event_target.sweep[0].input) == { sweep = true, min_age_minutes = 60 } &&
      aws_cloudwatch_event_target.sweep[0].retry_policy[0].maximum_retry_attempts == 10
    )
    error_message = "Once a day create_batch_queue sweeps up what is an hour old."
  }

  assert {
    condition = (
      aws_lambda_permission.sweep[0].function_name == aws_lambda_function.this["create_batch_queue"].function_name &&
      aws_lambda_permission.sweep[0].principal == "events.amazonaws.com" &&
      aws_lambda_permission.sweep[0].source_arn == aws_cloudwatch_event_rule.sweep[0].arn
    )
    error_message = "Of all rules, that of the sweep alone may invoke create_batch_queue."
  }
}

run "bucket" {
  command = plan

  assert {
    condition     = aws_s3_bucket_versioning.this[0].versioning_configuration[0].status == "Enabled"
    error_message = "The bucket is versioned."
  }

  assert {
    condition     = one(aws_s3_bucket_server_side_encryption_configuration.this[0].rule).apply_server_side_encryption_by_default[0].sse_algorithm == "AES256"
    error_message = "Without a key the bucket is encrypted with AES256."
  }

  assert {
    condition = alltrue([
      aws_s3_bucket_public_access_block.this[0].block_public_acls,
      aws_s3_bucket_public_access_block.this[0].block_public_policy,
      aws_s3_bucket_public_access_block.this[0].ignore_public_acls,
      aws_s3_bucket_public_access_block.this[0].restrict_public_buckets,
    ])
    error_message = "The bucket is closed to the public."
  }

  assert {
    condition     = aws_s3_bucket_ownership_controls.this[0].rule[0].object_ownership == "BucketOwnerEnforced"
    error_message = "The account owns what is uploaded, and access control lists are off."
  }

  assert {
    condition     = data.aws_iam_policy_document.bucket[0].statement[0].effect == "Deny" && one(data.aws_iam_policy_document.bucket[0].statement[0].condition).variable == "aws:SecureTransport"
    error_message = "The bucket refuses requests without TLS."
  }

  assert {
    condition = anytrue([
      for rule in aws_s3_bucket_lifecycle_configuration.this[0].rule :
      try(rule.id == "reading" && rule.filter[0].prefix == "jobs/reading/" && rule.expiration[0].days == 14, false)
      ]) && alltrue([
      for rule in aws_s3_bucket_lifecycle_configuration.this[0].rule :
      contains(["old-versions", "reading"], rule.id) || length(rule.expiration) == 0
    ])
    error_message = "Nothing expires by age but how far a large upload was read: a part of a result waits as long as it takes."
  }

  assert {
    condition = anytrue([
      for rule in aws_s3_bucket_lifecycle_configuration.this[0].rule :
      try(rule.filter[0].prefix == "jobs/" && rule.noncurrent_version_expiration[0].noncurrent_days == 14, false)
    ])
    error_message = "What was deleted from the work area can be had back for 14 days."
  }

  assert {
    condition = anytrue([
      for rule in aws_s3_bucket_lifecycle_configuration.this[0].rule :
      try(rule.noncurrent_version_expiration[0].noncurrent_days == 30 && rule.abort_incomplete_multipart_upload[0].days_after_initiation == 8, false)
    ])
    error_message = "Old versions and unfinished uploads of parts expire."
  }

  assert {
    condition     = [for rule in aws_s3_bucket_lifecycle_configuration.this[0].rule : rule.id] == ["work-area", "reading", "unfinished-results", "old-versions"]
    error_message = "Uploads and results are kept."
  }

  assert {
    condition     = !aws_s3_bucket.this[0].force_destroy && !aws_dynamodb_table.this.deletion_protection_enabled
    error_message = "By default the bucket's files are safe from terraform destroy."
  }
}

run "table" {
  command = plan

  assert {
    condition     = aws_dynamodb_table.this.hash_key == "pk" && aws_dynamodb_table.this.range_key == "sk" && aws_dynamodb_table.this.billing_mode == "PAY_PER_REQUEST"
    error_message = "The table has the keys pk and sk and is paid by request."
  }

  assert {
    condition = (
      one(aws_dynamodb_table.this.global_secondary_index).name == "status-index" &&
      one(aws_dynamodb_table.this.global_secondary_index).hash_key == "status_key" &&
      one(aws_dynamodb_table.this.global_secondary_index).range_key == "order_key" &&
      one(aws_dynamodb_table.this.global_secondary_index).projection_type == "ALL"
    )
    error_message = "status-index has the keys status_key and order_key and holds whole rows."
  }

  assert {
    condition     = aws_dynamodb_table.this.point_in_time_recovery[0].enabled && aws_dynamodb_table.this.server_side_encryption[0].enabled && aws_dynamodb_table.this.ttl[0].enabled && aws_dynamodb_table.this.ttl[0].attribute_name == "expires_at"
    error_message = "The table has point-in-time recovery, encryption, and expires_at as its time to live."
  }

  assert {
    condition = { for name, row in aws_dynamodb_table_item.route : name => jsondecode(row.item) } == {
      default = {
        pk              = { S = "route" }
        sk              = { S = "default" }
        model_id        = { S = "anthropic.claude-haiku-4-5-20251001-v1:0" }
        invocation_type = { S = "InvokeModel" }
        max_active_jobs = { N = "10" }
        priority        = { N = "50" }
        tags            = { M = { Queue = { S = "br-batch-inference" } } }

        min_records_per_job  = { N = "100" }
        max_records_per_job  = { N = "50000" }
        max_records_per_file = { N = "50000" }
        max_bytes_per_file   = { N = "1000000000" }
        max_bytes_per_job    = { N = "5000000000" }
        reserved_slots       = { N = "0" }
        pack_wait_minutes    = { N = "15" }
        undersized           = { S = "reject" }
        max_record_attempts  = { N = "3" }
        media                = { BOOL = false }
      }
    }
    error_message = "There is one route, default, with the model, ten jobs at once and Bedrock's usual limits."
  }

  assert {
    condition     = length(data.aws_servicequotas_service_quota.active_jobs) == 0
    error_message = "Service Quotas is asked for nothing that no route names."
  }
}

run "observability" {
  command = plan

  assert {
    condition = toset(flatten([
      for function in aws_lambda_function.this : keys(function.environment[0].variables)
    ])) == toset(local.own_environment)
    error_message = "The validation of lambda_environment knows every variable that the module sets."
  }

  assert {
    condition     = alltrue([for group in aws_cloudwatch_log_group.function : group.retention_in_days == 365])
    error_message = "Logs are kept for a year."
  }
}

run "outputs" {
  command = plan

  assert {
    condition     = output.input_uri == "s3://br-batch-inference-123456789012-us-east-1/to-process/" && output.output_uri == "s3://br-batch-inference-123456789012-us-east-1/processed/"
    error_message = "The URIs name bucket and prefix."
  }

  assert {
    condition     = toset(keys(output.functions)) == toset(["create_batch_queue", "process_batch_jobs", "collect_results", "operate_queue", "publish_events"]) && toset(keys(output.log_groups)) == toset(keys(output.functions))
    error_message = "functions and log_groups have the five functions."
  }

  assert {
    condition     = toset(keys(output.roles)) == toset(["create_batch_queue", "process_batch_jobs", "collect_results", "operate_queue", "publish_events", "bedrock"])
    error_message = "roles has the functions' roles and Bedrock's."
  }

  assert {
    condition     = toset(keys(output.rules)) == toset(["schedule", "job_state", "sweep"]) && output.rules.schedule.name == "br-batch-inference-schedule-us-east-1"
    error_message = "rules has both rules."
  }

  assert {
    condition = toset(keys(output.alarms)) == toset([
      "dead_letters", "dead_letter_errors", "events_dropped", "failed_invocations", "oldest_pending", "failed_uploads",
      "rejected_uploads", "failed_records", "near_expiry", "stalled_jobs_default", "schedule_stopped", "sweep_stopped",
      "create_batch_queue_errors", "process_batch_jobs_errors", "collect_results_errors", "operate_queue_errors", "publish_events_errors",
    ])
    error_message = "alarms has all alarms."
  }

  assert {
    condition = output.events == {
      source   = "bedrock-batch-queue"
      bus_name = "default"
      bus_arn  = "arn:aws:events:us-east-1:123456789012:event-bus/default"
      queue    = "br-batch-inference"
    }
    error_message = "events has what a rule needs."
  }

  assert {
    condition     = output.dead_letter_queue.name == "br-batch-inference-dead-letters-us-east-1" && output.dead_letter_queue.url == aws_sqs_queue.dead_letters.url
    error_message = "dead_letter_queue has name, ARN and URL."
  }
}
