# Given an option, what it changes.

mock_provider "aws" {
  source          = "./tests/terraform/mocks"
  override_during = plan
}

variables {
  model_id = "anthropic.claude-haiku-4-5-20251001-v1:0"
}

run "routes" {
  command = plan

  variables {
    max_active_jobs = 7
    routes = {
      summaries = {
        model_id        = "global.anthropic.claude-sonnet-4-5-20250929-v1:0"
        invocation_type = "Converse"
        max_active_jobs = 3
        priority        = 90
        timeout_hours   = 48
        tags            = { Team = "summaries" }
      }
      labels = { model_id = "amazon.nova-lite-v1:0" }
    }
  }

  assert {
    condition = jsondecode(aws_dynamodb_table_item.route["summaries"].item) == {
      pk              = { S = "route" }
      sk              = { S = "summaries" }
      model_id        = { S = "global.anthropic.claude-sonnet-4-5-20250929-v1:0" }
      invocation_type = { S = "Converse" }
      max_active_jobs = { N = "3" }
      priority        = { N = "90" }
      timeout_hours   = { N = "48" }
      tags            = { M = { Queue = { S = "br-batch-inference" }, Team = { S = "summaries" } } }

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
    error_message = "A route's row holds what was given."
  }

  assert {
    condition = jsondecode(aws_dynamodb_table_item.route["labels"].item) == {
      pk              = { S = "route" }
      sk              = { S = "labels" }
      model_id        = { S = "amazon.nova-lite-v1:0" }
      invocation_type = { S = "InvokeModel" }
      max_active_jobs = { N = "7" }
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
    error_message = "What a route leaves out is InvokeModel, max_active_jobs of the module, priority 50, Bedrock's usual limits, and no time-out."
  }

  assert {
    condition = {
      for attribute, value in jsondecode(aws_dynamodb_table_item.route["labels"].item) : attribute => value if !contains(["sk", "model_id"], attribute)
      } == {
      for attribute, value in jsondecode(aws_dynamodb_table_item.route["default"].item) : attribute => value if !contains(["sk", "model_id"], attribute)
    }
    error_message = "The route default has by itself what any other route leaves out."
  }

  assert {
    condition     = jsondecode(aws_dynamodb_table_item.route["default"].item).max_active_jobs.N == "7" && length(aws_dynamodb_table_item.route) == 3
    error_message = "The route default stays, with the module's max_active_jobs."
  }
}

run "route_named_default_replaces_the_default" {
  command = plan

  variables {
    routes = { default = { model_id = "amazon.nova-lite-v1:0", priority = 1 } }
  }

  assert {
    condition     = length(aws_dynamodb_table_item.route) == 1 && jsondecode(aws_dynamodb_table_item.route["default"].item).model_id.S == "amazon.nova-lite-v1:0"
    error_message = "routes[\"default\"] replaces the default route."
  }
}

run "route_named_default_keeps_the_model" {
  command = plan

  variables {
    routes = { default = { undersized = "on_demand" } }
  }

  assert {
    condition     = jsondecode(aws_dynamodb_table_item.route["default"].item).model_id.S == var.model_id && jsondecode(aws_dynamodb_table_item.route["default"].item).undersized.S == "on_demand"
    error_message = "routes[\"default\"] has the input model_id where it names no other."
  }
}

run "limits" {
  command = plan

  variables {
    routes = {
      summaries = {
        model_id             = "amazon.nova-lite-v1:0"
        max_active_jobs      = 20
        reserved_slots       = 19
        min_records_per_job  = 1
        max_records_per_job  = 100000
        max_records_per_file = 2000
        max_bytes_per_file   = 200000000
        max_bytes_per_job    = 1000000000000
        pack_wait_minutes    = 0
        undersized           = "on_demand"
        max_record_attempts  = 10
        media                = true
        prices               = { input_per_million_tokens = 0.035, output_per_million_tokens = 0.0000001 }
      }
    }
  }

  assert {
    condition = jsondecode(aws_dynamodb_table_item.route["summaries"].item) == {
      pk                   = { S = "route" }
      sk                   = { S = "summaries" }
      model_id             = { S = "amazon.nova-lite-v1:0" }
      invocation_type      = { S = "InvokeModel" }
      max_active_jobs      = { N = "20" }
      reserved_slots       = { N = "19" }
      priority             = { N = "50" }
      min_records_per_job  = { N = "1" }
      max_records_per_job  = { N = "100000" }
      max_records_per_file = { N = "2000" }
      max_bytes_per_file   = { N = "200000000" }
      max_bytes_per_job    = { N = "1000000000000" }
      pack_wait_minutes    = { N = "0" }
      undersized           = { S = "on_demand" }
      max_record_attempts  = { N = "10" }
      media                = { BOOL = true }
      input_price          = { S = "0.035" }
      output_price         = { S = "0.0000001" }
      tags                 = { M = { Queue = { S = "br-batch-inference" } } }
    }
    error_message = "A route's row holds its limits as whole numbers and its prices as decimal text."
  }
}

run "null_is_left_out" {
  command = plan

  variables {
    routes = {
      summaries = {
        model_id           = "amazon.nova-lite-v1:0", invocation_type = null, max_active_jobs = null, quota_code = null, reserved_slots = null
        priority           = null, timeout_hours = null, min_records_per_job = null, max_records_per_job = null, max_records_per_file = null
        max_bytes_per_file = null, max_bytes_per_job = null, pack_wait_minutes = null, undersized = null, max_record_attempts = null
        media              = null, prices = null, tags = null
      }
      labels = { model_id = "amazon.nova-lite-v1:0" }
    }
  }

  assert {
    condition     = merge(jsondecode(aws_dynamodb_table_item.route["summaries"].item), { sk = 0 }) == merge(jsondecode(aws_dynamodb_table_item.route["labels"].item), { sk = 0 })
    error_message = "A setting that is null is as one that is left out."
  }
}

run "other_types_that_fit" {
  command = plan

  variables {
    routes = {
      summaries = {
        model_id = "amazon.nova-lite-v1:0", max_active_jobs = "5", priority = "90", media = "true", tags = { Team = 7, Paid = true }
        prices   = { input_per_million_tokens = "0.40", output_per_million_tokens = 2 }
      }
    }
  }

  assert {
    condition = { for attribute, value in jsondecode(aws_dynamodb_table_item.route["summaries"].item) : attribute => value if contains(["max_active_jobs", "priority", "media", "input_price", "tags"], attribute) } == {
      max_active_jobs = { N = "5" }
      priority        = { N = "90" }
      media           = { BOOL = true }
      input_price     = { S = "0.4" }
      tags            = { M = { Queue = { S = "br-batch-inference" }, Team = { S = "7" }, Paid = { S = "true" } } }
    }
    error_message = "Values are converted to the types of the attributes, as Terraform does."
  }
}

run "quotas" {
  command = plan

  override_data {
    target = data.aws_servicequotas_service_quota.active_jobs["L-1A2B3C4D"]
    values = { quota_name = "Sum of in-progress and submitted batch inference jobs using a base model for Nova Lite", value = 100 }
  }

  variables {
    max_active_jobs = 7
    routes = {
      default   = { quota_code = "L-0123ABCD", reserved_slots = 19 }
      summaries = { model_id = "amazon.nova-lite-v1:0", quota_code = "L-1A2B3C4D" }
      titles    = { model_id = "amazon.nova-lite-v1:0", quota_code = "L-1A2B3C4D", priority = 90 }
      labels    = { model_id = "amazon.nova-micro-v1:0" }
    }
  }

  assert {
    condition     = { for name, row in aws_dynamodb_table_item.route : name => jsondecode(row.item).max_active_jobs.N } == { default = "20", summaries = "100", titles = "100", labels = "7" }
    error_message = "The limit of a route with a quota_code is the quota's value; that of another is max_active_jobs."
  }

  assert {
    condition     = { for name, row in aws_dynamodb_table_item.route : name => try(jsondecode(row.item).quota_code.S, "") } == { default = "L-0123ABCD", summaries = "L-1A2B3C4D", titles = "L-1A2B3C4D", labels = "" }
    error_message = "The row of a route has its quota_code, for clients that compare."
  }

  assert {
    condition     = { for code, quota in data.aws_servicequotas_service_quota.active_jobs : code => "${quota.service_code} ${quota.quota_code}" } == { "L-0123ABCD" = "bedrock L-0123ABCD", "L-1A2B3C4D" = "bedrock L-1A2B3C4D" }
    error_message = "Each quota is read once, from the service bedrock."
  }
}

run "quota_of_something_else" {
  command = plan

  override_data {
    target = data.aws_servicequotas_service_quota.active_jobs
    values = { quota_name = "Minimum number of records per batch inference job for Nova Lite", value = 100 }
  }

  variables {
    routes = { default = { quota_code = "L-0123ABCD" } }
  }

  expect_failures = [data.aws_servicequotas_service_quota.active_jobs]
}

run "quota_of_zero" {
  command = plan

  override_data {
    target = data.aws_servicequotas_service_quota.active_jobs
    values = { quota_name = "Sum of in-progress and submitted batch inference jobs using a base model for Nova Lite", value = 0 }
  }

  variables {
    routes = { default = { quota_code = "L-0123ABCD" } }
  }

  expect_failures = [aws_dynamodb_table_item.route]
}

run "quota_reserved_altogether" {
  command = plan

  variables {
    routes = { default = { quota_code = "L-0123ABCD", reserved_slots = 20 } }
  }

  expect_failures = [aws_dynamodb_table_item.route]
}

run "on_demand" {
  command = plan

  variables {
    routes = {
      summaries  = { model_id = "us.amazon.nova-lite-v1:0", undersized = "on_demand" }
      titles     = { model_id = "us.amazon.nova-lite-v1:0", undersized = "on_demand", invocation_type = "Converse" }
      embeddings = { model_id = "amazon.titan-embed-text-v2:0", undersized = "on_demand" }
      reviews    = { model_id = "openai.gpt-oss-20b-1:0", undersized = "flex" }
      labels     = { model_id = "amazon.nova-micro-v1:0", undersized = "reject" }
    }
  }

  assert {
    condition = one([for statement in data.aws_iam_policy_document.role["collect_results"].statement : [statement.actions, toset(statement.resources)] if statement.sid == "InvokeModelsOnDemand"]) == [toset(["bedrock:InvokeModel"]), toset([
      "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.amazon.nova-lite-v1:0",
      "arn:aws:bedrock:*::foundation-model/amazon.nova-lite-v1:0",
      "arn:aws:bedrock:us-east-1::foundation-model/amazon.titan-embed-text-v2:0",
      "arn:aws:bedrock:us-east-1::foundation-model/openai.gpt-oss-20b-1:0",
    ])]
    error_message = "collect_results may invoke the models of the routes that are on_demand or flex, and what their profiles route to, and no other."
  }

  assert {
    condition     = jsondecode(aws_dynamodb_table_item.route["reviews"].item).undersized.S == "flex"
    error_message = "The functions are told that the route is flex."
  }

  assert {
    condition = one([for statement in data.aws_iam_policy_document.role["bedrock"].statement : toset(statement.resources) if statement.sid == "InvokeThroughInferenceProfiles"]) == toset([
      "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.amazon.nova-lite-v1:0",
      "arn:aws:bedrock:*::foundation-model/amazon.nova-lite-v1:0",
    ])
    error_message = "Bedrock's jobs may invoke what goes through a profile, on_demand or not."
  }
}

run "media" {
  command = plan

  variables {
    routes = {
      pictures = { model_id = "amazon.nova-lite-v1:0", media = true }
      labels   = { model_id = "amazon.nova-micro-v1:0" }
    }
    media_prefixes = ["pictures/", "films/2026/", "to-process/"]
  }

  assert {
    condition     = one([for statement in data.aws_iam_policy_document.role["process_batch_jobs"].statement : [statement.actions, statement.resources] if statement.sid == "ReadMedia"]) == [toset(["s3:GetObject"]), toset(["arn:aws:s3:::br-batch-inference-123456789012-us-east-1/pictures/*", "arn:aws:s3:::br-batch-inference-123456789012-us-east-1/films/2026/*"])]
    error_message = "With a media route process_batch_jobs may read what the prefixes hold, and what it has staged."
  }

  assert {
    condition = alltrue([
      for document in [data.aws_iam_policy_document.role["create_batch_queue"], data.aws_iam_policy_document.role["collect_results"], data.aws_iam_policy_document.role["bedrock"]] :
      length([for statement in document.statement : statement if contains(statement.resources, "arn:aws:s3:::br-batch-inference-123456789012-us-east-1/pictures/*")]) == 0
    ])
    error_message = "No other role may."
  }

  assert {
    condition     = alltrue([for function in aws_lambda_function.this : function.environment[0].variables.MEDIA_PREFIXES == "pictures/,films/2026/,to-process/"])
    error_message = "The functions are told the prefixes."
  }
}

run "no_role_reads_the_whole_bucket" {
  command = plan

  variables {
    input_prefix = "team/in/"
    routes       = { pictures = { model_id = "amazon.nova-lite-v1:0", media = true, undersized = "on_demand" } }
  }

  assert {
    condition     = length(setintersection(flatten([for document in data.aws_iam_policy_document.role : [for statement in document.statement : statement.resources if contains(statement.actions, "s3:GetObject")]]), ["*", "arn:aws:s3:::br-batch-inference-123456789012-us-east-1/*"])) == 0
    error_message = "No role may read the whole bucket."
  }

  assert {
    condition     = alltrue([for function in aws_lambda_function.this : function.environment[0].variables.MEDIA_PREFIXES == "team/in/"])
    error_message = "Without media_prefixes, records may link to what the input prefix holds."
  }

  assert {
    condition     = length([for statement in data.aws_iam_policy_document.role["collect_results"].statement : statement if statement.sid == "ReadMediaOnDemand"]) == 0
    error_message = "What the input prefix holds is read as the uploads are."
  }
}

run "existing_bucket" {
  command = plan

  override_data {
    target = data.aws_s3_bucket.existing[0]
    values = { bucket = "team-files", arn = "arn:aws:s3:::team-files", region = "us-east-1" }
  }

  variables {
    create_bucket = false
    bucket_name   = "team-files"
  }

  assert {
    condition = length(concat(
      aws_s3_bucket.this[*].id, aws_s3_bucket_versioning.this[*].id, aws_s3_bucket_policy.this[*].id,
      aws_s3_bucket_lifecycle_configuration.this[*].id, aws_s3_bucket_ownership_controls.this[*].id,
      aws_s3_bucket_public_access_block.this[*].id, aws_s3_bucket_server_side_encryption_configuration.this[*].id,
      aws_s3_bucket_notification.this[*].id,
    )) == 0
    error_message = "No setting of an existing bucket is touched."
  }

  assert {
    condition     = output.input_uri == "s3://team-files/to-process/" && output.bucket_arn == "arn:aws:s3:::team-files" && aws_lambda_function.this["create_batch_queue"].environment[0].variables.BUCKET == "team-files"
    error_message = "The existing bucket is the queue's bucket."
  }

  assert {
    condition     = aws_lambda_permission.bucket.source_arn == "arn:aws:s3:::team-files" && aws_lambda_permission.bucket.source_account == "123456789012"
    error_message = "S3 may invoke create_batch_queue for the existing bucket."
  }

  assert {
    condition = output.bucket_notification == {
      id                  = "br-batch-inference-uploads"
      lambda_function_arn = "arn:aws:lambda:us-east-1:123456789012:function:mock"
      events              = ["s3:ObjectCreated:*"]
      filter_prefix       = "to-process/"
      filter_suffix       = ".jsonl"
    }
    error_message = "The bucket's owner learns what to add to the notification configuration."
  }
}

run "existing_bucket_of_another_account" {
  command = plan

  variables {
    create_bucket = false
    bucket_name   = "team-files"
    bucket_owner  = "210987654321"
  }

  assert {
    condition     = alltrue([for function in aws_lambda_function.this : function.environment[0].variables.BUCKET_OWNER == "210987654321"])
    error_message = "The functions tell Bedrock whose bucket it is."
  }

  assert {
    condition     = aws_lambda_permission.bucket.source_account == "210987654321" && aws_lambda_permission.bucket.source_arn == "arn:aws:s3:::team-files"
    error_message = "S3 may invoke create_batch_queue for the bucket of that account."
  }

  assert {
    condition     = [for statement in data.aws_iam_policy_document.role["bedrock"].statement : one(one(statement.condition).values) if statement.sid == "ListBucket"] == ["210987654321"]
    error_message = "Bedrock's jobs may list the bucket of that account only."
  }
}

run "own_bucket_without_notification" {
  command = plan

  variables {
    manage_bucket_notification = false
  }

  assert {
    condition     = length(aws_s3_bucket.this) == 1 && length(aws_s3_bucket_notification.this) == 0
    error_message = "The notification of the module's own bucket can be left to others, such as two queues on it."
  }
}

run "eventbridge" {
  command = plan

  variables {
    eventbridge_notifications = true
  }

  assert {
    condition     = aws_s3_bucket_notification.this[0].eventbridge && length(aws_s3_bucket_notification.this[0].lambda_function) == 1
    error_message = "S3 sends its events to EventBridge too, and still invokes create_batch_queue."
  }
}

run "existing_bucket_with_notification" {
  command = plan

  override_data {
    target = data.aws_s3_bucket.existing[0]
    values = { bucket = "team-files", arn = "arn:aws:s3:::team-files", region = "us-east-1" }
  }

  variables {
    create_bucket              = false
    bucket_name                = "team-files"
    manage_bucket_notification = true
  }

  assert {
    condition     = aws_s3_bucket_notification.this[0].bucket == "team-files"
    error_message = "The existing bucket's notification is set."
  }
}

run "existing_bucket_in_another_region" {
  command = plan

  override_data {
    target = data.aws_s3_bucket.existing[0]
    values = { bucket = "team-files", arn = "arn:aws:s3:::team-files", region = "eu-west-1" }
  }

  variables {
    create_bucket = false
    bucket_name   = "team-files"
  }

  expect_failures = [data.aws_s3_bucket.existing]
}

run "own_bucket_name" {
  command = plan

  variables {
    bucket_name         = "my-own-name"
    force_destroy       = true
    work_retention_days = 45
  }

  assert {
    condition     = aws_s3_bucket.this[0].bucket == "my-own-name" && aws_s3_bucket.this[0].force_destroy
    error_message = "bucket_name names the bucket that is made."
  }

  assert {
    condition     = flatten([for rule in aws_s3_bucket_lifecycle_configuration.this[0].rule : rule.noncurrent_version_expiration[*].noncurrent_days]) == [45, 45]
    error_message = "An old version lives as long as what was deleted from the work area, 30 days at least."
  }
}

run "retention" {
  command = plan

  variables {
    uploads_retention_days = 90
    results_retention_days = 365
  }

  assert {
    condition = [
      for rule in aws_s3_bucket_lifecycle_configuration.this[0].rule :
      { prefix = rule.filter[0].prefix, days = rule.expiration[0].days } if contains(["uploads", "results"], rule.id) && rule.status == "Enabled"
    ] == [{ prefix = "to-process/", days = 90 }, { prefix = "processed/", days = 365 }]
    error_message = "Uploads and results expire, each after its own time."
  }
}

run "retention_of_results_alone" {
  command = plan

  variables {
    results_retention_days = 1
  }

  assert {
    condition     = [for rule in aws_s3_bucket_lifecycle_configuration.this[0].rule : rule.id] == ["work-area", "reading", "unfinished-results", "old-versions", "results"]
    error_message = "Uploads are kept."
  }
}

run "retention_of_rows" {
  command = plan

  variables {
    row_retention_days     = 30
    uploads_retention_days = 90
    results_retention_days = 91
  }

  assert {
    condition     = alltrue([for function in aws_lambda_function.this : function.environment[0].variables.ROW_RETENTION_DAYS == "30"])
    error_message = "The functions say when rows expire."
  }
}

run "bucket_policy" {
  command = plan

  variables {
    bucket_policy_documents = [
      "{\"Version\":\"2012-10-17\",\"Statement\":{\"Sid\":\"OnlyFromOurNetwork\",\"Effect\":\"Deny\",\"Principal\":\"*\",\"Action\":\"s3:*\",\"Resource\":\"*\"}}",
    ]
  }

  assert {
    condition     = data.aws_iam_policy_document.bucket[0].source_policy_documents == tolist(var.bucket_policy_documents) && data.aws_iam_policy_document.bucket[0].statement[0].sid == "DenyWithoutTls"
    error_message = "The bucket's one policy has the module's statement and those that are given."
  }
}

run "own_role" {
  command = plan

  variables {
    create_role = false
    role_arn    = "arn:aws:iam::123456789012:role/team/my-bedrock-role"
  }

  assert {
    condition     = length(aws_iam_role.bedrock) == 0 && length(aws_iam_role_policy.bedrock) == 0
    error_message = "With create_role = false no service role is made."
  }

  assert {
    condition     = output.roles.bedrock.name == "my-bedrock-role" && output.roles.bedrock.arn == var.role_arn && aws_lambda_function.this["process_batch_jobs"].environment[0].variables.ROLE_ARN == var.role_arn
    error_message = "The given role is the one that jobs get."
  }

  assert {
    condition     = one([for statement in data.aws_iam_policy_document.role["process_batch_jobs"].statement : one(statement.resources) if statement.sid == "PassRoleToBedrock"]) == var.role_arn
    error_message = "Only the given role may be passed."
  }
}

run "prefixes" {
  command = plan

  variables {
    input_prefix  = "team/in/"
    output_prefix = "team/out/"
    work_prefix   = "team/work/"
  }

  assert {
    condition     = aws_s3_bucket_notification.this[0].lambda_function[0].filter_prefix == "team/in/" && output.input_uri == "s3://br-batch-inference-123456789012-us-east-1/team/in/" && output.output_uri == "s3://br-batch-inference-123456789012-us-east-1/team/out/"
    error_message = "The prefixes reach notification and outputs."
  }

  assert {
    condition     = alltrue([for function in aws_lambda_function.this : function.environment[0].variables.INPUT_PREFIX == "team/in/" && function.environment[0].variables.OUTPUT_PREFIX == "team/out/" && function.environment[0].variables.WORK_PREFIX == "team/work/"])
    error_message = "The prefixes reach the functions."
  }

  assert {
    condition = toset(flatten([
      for document in data.aws_iam_policy_document.role : [
        for statement in document.statement : [
          for arn in statement.resources : regex("/([^/]+/[^/]+)", arn)[0] if startswith(arn, "arn:aws:s3:::br-batch-inference-123456789012-us-east-1/")
        ]
      ]
    ])) == toset(["team/in", "team/out", "team/work"])
    error_message = "The roles may use the three prefixes, and no other."
  }

  assert {
    condition     = contains([for rule in aws_s3_bucket_lifecycle_configuration.this[0].rule : rule.filter[0].prefix], "team/work/")
    error_message = "The work area expires, wherever it is."
  }
}

run "key" {
  command = plan

  variables {
    kms_key_arn = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
  }

  assert {
    condition = alltrue(concat(
      [for function in aws_lambda_function.this : function.kms_key_arn == var.kms_key_arn && function.environment[0].variables.KMS_KEY_ARN == var.kms_key_arn],
      [for group in aws_cloudwatch_log_group.function : group.kms_key_id == var.kms_key_arn],
      [aws_dynamodb_table.this.server_side_encryption[0].kms_key_arn == var.kms_key_arn],
      [aws_sqs_queue.dead_letters.kms_master_key_id == var.kms_key_arn],
      [one(aws_s3_bucket_server_side_encryption_configuration.this[0].rule).bucket_key_enabled],
      [one(aws_s3_bucket_server_side_encryption_configuration.this[0].rule).apply_server_side_encryption_by_default[0].sse_algorithm == "aws:kms"],
      [one(aws_s3_bucket_server_side_encryption_configuration.this[0].rule).apply_server_side_encryption_by_default[0].kms_master_key_id == var.kms_key_arn],
    ))
    error_message = "The key encrypts bucket, table, dead letters, logs and the functions' environment."
  }

  assert {
    condition = alltrue([
      for key, document in data.aws_iam_policy_document.role :
      toset(flatten([for statement in document.statement : statement.resources if startswith(statement.sid, "UseKey")])) == toset([var.kms_key_arn]) if key == "bedrock" || endswith(key, "_runtime")
    ])
    error_message = "Each role may use the key, and no other."
  }

  assert {
    condition = alltrue([
      for name, document in { for key, document in data.aws_iam_policy_document.role : trimsuffix(key, "_runtime") => document if endswith(key, "_runtime") } : {
        for statement in document.statement : statement.sid => {
          (one(statement.condition).variable) = { for action in statement.actions : action => toset(one(statement.condition).values) }
        } if startswith(statement.sid, "UseKey")
        } == {
        UseKeyForFilesAndDeadLetters = { "kms:ViaService" = { for action in ["kms:Decrypt", "kms:GenerateDataKey"] : action => toset(["s3.us-east-1.amazonaws.com", "sqs.us-east-1.amazonaws.com"]) } }
        UseKeyForTable               = { "kms:ViaService" = { "kms:Decrypt" = toset(["dynamodb.us-east-1.amazonaws.com"]) } }
        UseKeyForOwnEnvironment      = { "kms:EncryptionContext:aws:lambda:FunctionArn" = { "kms:Decrypt" = toset(["arn:aws:lambda:us-east-1:123456789012:function:br-batch-inference-${replace(name, "_", "-")}-us-east-1"]) } }
      }
    ])
    error_message = "A function uses the key through S3, SQS and DynamoDB, and for its own environment."
  }

  assert {
    condition = {
      for statement in data.aws_iam_policy_document.role["bedrock"].statement : statement.sid => {
        for condition in statement.condition : condition.variable => one(condition.values)
      } if startswith(statement.sid, "UseKey")
    } == { UseKeyForFiles = { "kms:ViaService" = "s3.us-east-1.amazonaws.com" } }
    error_message = "Bedrock's jobs use the key through S3."
  }
}

run "vpc" {
  command = plan

  variables {
    vpc     = { subnet_ids = ["subnet-a1", "subnet-b2"], security_group_ids = ["sg-c3"] }
    job_vpc = { subnet_ids = ["subnet-d4"], security_group_ids = ["sg-e5", "sg-f6"] }
  }

  assert {
    condition     = alltrue([for function in aws_lambda_function.this : toset(function.vpc_config[0].subnet_ids) == toset(["subnet-a1", "subnet-b2"]) && toset(function.vpc_config[0].security_group_ids) == toset(["sg-c3"])])
    error_message = "The functions are in the VPC."
  }

  assert {
    condition     = jsondecode(aws_lambda_function.this["process_batch_jobs"].environment[0].variables.JOB_VPC) == { subnetIds = ["subnet-d4"], securityGroupIds = ["sg-e5", "sg-f6"] }
    error_message = "The jobs get the VPC in the words of Bedrock's API."
  }

  assert {
    condition     = alltrue([for key, document in data.aws_iam_policy_document.role : length([for statement in document.statement : statement if contains(["ManageNetworkInterfaces", "DenyNetworkInterfacesToCode"], statement.sid)]) == 2 if endswith(key, "_runtime")])
    error_message = "Lambda may manage network interfaces for the functions, their code may not."
  }

  assert {
    condition = one([for statement in data.aws_iam_policy_document.role["bedrock"].statement : toset(statement.resources) if statement.sid == "CreateNetworkInterfacesInSubnets"]) == toset([
      "arn:aws:ec2:us-east-1:123456789012:subnet/subnet-d4",
      "arn:aws:ec2:us-east-1:123456789012:security-group/sg-e5",
      "arn:aws:ec2:us-east-1:123456789012:security-group/sg-f6",
    ])
    error_message = "Bedrock may make network interfaces in the job's subnets only."
  }
}

run "roles" {
  command = plan

  variables {
    permissions_boundary = "arn:aws:iam::123456789012:policy/boundary"
    role_path            = "/team/"
  }

  assert {
    condition     = alltrue([for role in concat(values(aws_iam_role.function), aws_iam_role.bedrock) : role.permissions_boundary == var.permissions_boundary && role.path == "/team/"])
    error_message = "Every role has the boundary and the path."
  }
}

run "functions" {
  command = plan

  variables {
    lambda_runtime      = "python3.12"
    lambda_architecture = "x86_64"
    lambda_memory_size  = 512
    lambda_environment  = { AWS_ENDPOINT_URL_BEDROCK = "http://127.0.0.1:1" }
    lambda_layers       = ["arn:aws:lambda:us-east-1:123456789012:layer:boto3:3"]
  }

  assert {
    condition = alltrue([
      for function in aws_lambda_function.this :
      function.runtime == "python3.12" && function.architectures == tolist(["x86_64"]) && function.memory_size == 512 && function.layers == tolist(var.lambda_layers) &&
      function.environment[0].variables.AWS_ENDPOINT_URL_BEDROCK == "http://127.0.0.1:1" && function.environment[0].variables.NAME == "br-batch-inference"
    ])
    error_message = "Runtime, architecture, memory, layers and environment reach every function, beside the module's own variables."
  }
}

run "reserved_concurrency" {
  command = plan

  variables {
    lambda_reserved_concurrency = { create_batch_queue = 1, process_batch_jobs = 2, collect_results = null, publish_events = 1 }
  }

  assert {
    condition     = { for key, function in aws_lambda_function.this : key => coalesce(function.reserved_concurrent_executions, -1) } == { create_batch_queue = 1, process_batch_jobs = 2, collect_results = -1, operate_queue = -1, publish_events = 1 }
    error_message = "Each function has the concurrency that is reserved for it; without one, nothing is reserved."
  }
}

run "events_and_notifications" {
  command = plan

  variables {
    event_bus_arn          = "arn:aws:events:us-east-1:210987654321:event-bus/teams/central"
    notification_topic_arn = "arn:aws:sns:us-east-1:210987654321:people"
    notify_on              = ["Rejected", "Completed"]
    kms_key_arn            = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
  }

  assert {
    condition = { for statement in data.aws_iam_policy_document.role["publish_events"].statement : statement.sid => toset(statement.resources) if !contains(["ReadStream", "ReadPrices"], statement.sid) } == {
      SendEvents             = toset([var.event_bus_arn])
      PublishNotifications   = toset([var.notification_topic_arn])
      UseKeyForNotifications = toset([var.kms_key_arn])
    }
    error_message = "publish_events may send to this bus and topic, and to no other."
  }

  assert {
    condition = one(flatten([
      for statement in data.aws_iam_policy_document.role["publish_events"].statement :
      [for condition in statement.condition : "${condition.test} ${condition.variable} ${join(" ", condition.values)}"] if statement.sid == "UseKeyForNotifications"
    ])) == "StringEquals kms:ViaService sns.us-east-1.amazonaws.com"
    error_message = "The key of the topic is used through SNS alone."
  }

  assert {
    condition = {
      for name in ["EVENT_BUS_ARN", "NOTIFICATION_TOPIC_ARN", "NOTIFY_ON"] : name => aws_lambda_function.this["publish_events"].environment[0].variables[name]
      } == {
      EVENT_BUS_ARN          = var.event_bus_arn
      NOTIFICATION_TOPIC_ARN = var.notification_topic_arn
      NOTIFY_ON              = "Completed,Rejected"
    }
    error_message = "The function is told the bus, the topic and the statuses."
  }

  assert {
    condition     = output.events.bus_name == "teams/central" && output.events.bus_arn == var.event_bus_arn
    error_message = "A rule finds the bus."
  }
}

run "watching" {
  command = plan

  variables {
    log_level           = "WARNING"
    log_retention_days  = 30
    schedule_expression = "rate(5 minutes)"
    deletion_protection = true
  }

  assert {
    condition = alltrue([
      for function in aws_lambda_function.this :
      function.environment[0].variables.LOG_LEVEL == "WARNING" && try(length(function.logging_config[0].application_log_level), 0) == 0
    ])
    error_message = "The functions are told the level. Lambda itself filters nothing: it would drop the metrics."
  }

  assert {
    condition     = alltrue([for group in aws_cloudwatch_log_group.function : group.retention_in_days == 30]) && aws_cloudwatch_event_rule.schedule.schedule_expression == "rate(5 minutes)" && aws_dynamodb_table.this.deletion_protection_enabled
    error_message = "Log retention, schedule and deletion protection are as given."
  }
}

run "tracing" {
  command = plan

  variables {
    tracing = true
  }

  assert {
    condition     = alltrue([for function in aws_lambda_function.this : function.tracing_config[0].mode == "Active"])
    error_message = "X-Ray traces each function."
  }

  assert {
    condition = alltrue([
      for key, document in data.aws_iam_policy_document.role :
      [for statement in document.statement : [toset(statement.actions), toset(statement.resources)] if statement.sid == "SendTraces"] == [[toset(["xray:PutTelemetryRecords", "xray:PutTraceSegments"]), toset(["*"])]] if endswith(key, "_runtime")
    ])
    error_message = "Lambda may send the traces of each function."
  }
}

run "no_sweep" {
  command = plan

  variables {
    sweep_schedule_expression = null
  }

  assert {
    condition     = length(concat(aws_cloudwatch_event_rule.sweep, aws_cloudwatch_event_target.sweep, aws_lambda_permission.sweep)) == 0
    error_message = "Without a schedule there is no rule for the sweep, and no rule may invoke create_batch_queue."
  }

  assert {
    condition     = toset(keys(output.rules)) == toset(["schedule", "job_state"])
    error_message = "The output names the rules that there are."
  }

  assert {
    condition     = contains([for statement in data.aws_iam_policy_document.role["create_batch_queue"].statement : statement.sid], "ListUploadsAndReports")
    error_message = "A sweep by hand works without the rule."
  }
}

run "tags" {
  command = plan

  variables {
    tags = { CostCenter = "42" }
  }

  assert {
    condition = alltrue([
      for tags in concat(
        [aws_s3_bucket.this[0].tags, aws_dynamodb_table.this.tags, aws_sqs_queue.dead_letters.tags],
        [aws_cloudwatch_event_rule.schedule.tags, aws_cloudwatch_event_rule.job_state.tags, aws_cloudwatch_event_rule.sweep[0].tags],
        [for alarm in aws_cloudwatch_metric_alarm.this : alarm.tags],
        [for function in aws_lambda_function.this : function.tags],
        [for group in aws_cloudwatch_log_group.function : group.tags],
        [for role in concat(values(aws_iam_role.function), aws_iam_role.bedrock) : role.tags],
      ) : tags == tomap({ Queue = "br-batch-inference", CostCenter = "42" })
    ])
    error_message = "Everything that can have tags has them."
  }

  assert {
    condition     = { for key, value in jsondecode(aws_dynamodb_table_item.route["default"].item).tags.M : key => value.S } == { Queue = "br-batch-inference", CostCenter = "42" }
    error_message = "The jobs get the tags too."
  }
}

run "many_long_tags" {
  command = plan

  variables {
    tags = { for number in range(49) : "tag-${number}" => format("%0256d", 0) }
  }

  assert {
    condition     = length(jsondecode(aws_dynamodb_table_item.route["default"].item).tags.M) == 50 && alltrue([for function in aws_lambda_function.this : length(jsonencode(function.environment[0].variables)) < 1024])
    error_message = "The jobs get as many and as long tags as AWS allows, for they are no part of the functions' environment."
  }
}

run "environment_that_just_fits" {
  command = plan

  variables {
    lambda_environment = { FILLER = format("%03000d", 0) }
  }

  assert {
    condition     = alltrue([for function in aws_lambda_function.this : length(function.environment[0].variables.FILLER) == 3000])
    error_message = "The functions get it."
  }
}

run "environment_that_lambda_would_refuse" {
  command = plan

  variables {
    lambda_environment = { FILLER = format("%03900d", 0) }
  }

  expect_failures = [aws_lambda_function.this]
}

run "permissions" {
  command = plan

  variables {
    vpc         = { subnet_ids = ["subnet-a1"], security_group_ids = ["sg-c3"] }
    job_vpc     = { subnet_ids = ["subnet-d4"], security_group_ids = ["sg-e5"] }
    kms_key_arn = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
    tracing     = true
    routes      = { default = { undersized = "on_demand", media = true } }
  }

  assert {
    condition = alltrue(flatten([
      for document in data.aws_iam_policy_document.role : [for statement in document.statement : [for action in statement.actions : !strcontains(action, "*")]]
    ]))
    error_message = "No role has an action with a wildcard."
  }

  assert {
    condition = toset(flatten([
      for document in data.aws_iam_policy_document.role : [for statement in document.statement : statement.sid if contains(statement.resources, "*")]
    ])) == toset(["DenyNetworkInterfacesToCode", "DescribeNetwork", "ListJobs", "ManageNetworkInterfaces", "ManageOwnNetworkInterfaces", "SeeQuotas", "SendTraces"])
    error_message = "The resource \"*\" stands only where AWS knows nothing finer."
  }

  assert {
    condition = alltrue(flatten([
      for document in concat(
        values(data.aws_iam_policy_document.role), data.aws_iam_policy_document.bucket, data.aws_iam_policy_document.bedrock_trust,
        [data.aws_iam_policy_document.function_trust, data.aws_iam_policy_document.dead_letters],
      ) : [for statement in document.statement : try(length(statement.sid) > 0, false)]
    ]))
    error_message = "Every statement has a name."
  }

  assert {
    condition = { for condition in data.aws_iam_policy_document.bedrock_trust[0].statement[0].condition : "${condition.test} ${condition.variable}" => one(condition.values) } == {
      "StringEquals aws:SourceAccount" = "123456789012"
      "ArnEquals aws:SourceArn"        = "arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/*"
    }
    error_message = "The service role trusts Bedrock for batch jobs of this account and Region only."
  }

  assert {
    condition     = one([for statement in data.aws_iam_policy_document.role["process_batch_jobs"].statement : one(statement.condition).values if statement.sid == "PassRoleToBedrock"]) == tolist(["bedrock.amazonaws.com"])
    error_message = "The role may be passed to Bedrock only."
  }
}

run "media_on_demand" {
  command = plan

  variables {
    routes         = { pictures = { model_id = "amazon.nova-lite-v1:0", media = true, undersized = "on_demand" } }
    media_prefixes = ["pictures/"]
  }

  assert {
    condition     = one([for statement in data.aws_iam_policy_document.role["collect_results"].statement : [statement.actions, statement.resources] if statement.sid == "ReadMediaOnDemand"]) == [toset(["s3:GetObject"]), toset(["arn:aws:s3:::br-batch-inference-123456789012-us-east-1/pictures/*"])]
    error_message = "On demand, Bedrock reads linked media as collect_results."
  }
}
