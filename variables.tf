# Models and routes

variable "model_id" {
  description = "ID or ARN of the model of the route \"default\", which takes every upload without another route."
  type        = string
  nullable    = false

  validation {
    condition     = !strcontains(var.model_id, ":provisioned-model/")
    error_message = "model_id is \"${var.model_id}\", but ${local.advice.provisioned}"
  }

  validation {
    condition     = can(regex(local.patterns.model_id, var.model_id))
    error_message = "model_id is \"${var.model_id}\", which is not a model: ${local.advice.model_id}"
  }
}

# routes.tf has the types and the defaults of a route, and checks what is written here. With a type of its own, Terraform
# would leave out a misspelled attribute and say nothing.
variable "routes" {
  description = <<-EOT
    More routes, by the name of their folder below the input prefix: uploads to to-process/<name>/ use the route <name>. The route "default" takes all other uploads: give it here to set more of it than model_id and max_active_jobs. Attributes of a route:
    - model_id: the model, as in the input model_id. Required, except for the route default.
    - invocation_type: "InvokeModel" (the default: modelInput is the model's own request format) or "Converse".
    - max_active_jobs: number of jobs of this route that may be active at once. Default: the input max_active_jobs.
    - quota_code: instead of max_active_jobs, the code (L-XXXXXXXX) of the model's quota "Sum of in-progress and submitted batch inference jobs", whose value Terraform reads from Service Quotas at each plan.
    - reserved_slots: number of these jobs that are left to others in the account. Default: 0.
    - priority: 0 to 100. Where routes share a model, the higher priority goes first. Default: 50.
    - timeout_hours: 24 to 168, after which Bedrock ends a job. Default: Bedrock's own.
    - min_records_per_job: the model's quota for the minimum number of records in a job. Default: 100.
    - max_records_per_job: the model's quota for the number of records in a job. Default: 50000.
    - max_records_per_file: the model's quota for the number of records in an input file. Default: 50000. Larger uploads are split, and their results put together again.
    - max_bytes_per_file: the model's quota for the size of an input file. Default: 1000000000.
    - max_bytes_per_job: the model's quota for the size of a job. Default: 5000000000.
    - pack_wait_minutes: 0 to 1440. How long fewer records than min_records_per_job wait for others to share a job with. Default: 15.
    - undersized: what happens to them after that: "reject" (the default), "on_demand" to run them through InvokeModel or Converse at the on-demand price, or "flex" to do so at the service tier flex, for models that have it at the price of batch inference.
    - max_record_attempts: 1 to 10. How often a record that fails for a temporary reason is run. Jobs that end before they start do not count. Default: 3.
    - media: true where modelInput refers to images or videos in the bucket by S3 URI, which are then copied next to the job's input. They must be below one of media_prefixes. Default: false.
    - prices: object with input_per_million_tokens and output_per_million_tokens, in any currency. Adds the cost of an upload to its summary.
    - tags: more tags for the jobs of this route.
  EOT
  type        = any
  default     = {}
  nullable    = false

  validation {
    condition     = can([for route in values(var.routes) : keys(route)])
    error_message = "routes must be a map of routes by name: write { my-folder = { model_id = \"amazon.nova-lite-v1:0\" } }."
  }

  validation {
    condition = try(alltrue([
      for name in keys(var.routes) : can(regex(local.patterns.route, name)) && !contains([".", ".."], name)
    ]), true)
    error_message = <<-EOT
      routes has the names ${jsonencode(try(keys(var.routes), []))}, but a name is the name of one folder: write 1 to 64 letters,
      digits or ! _ . * ' ( ) -, and neither "." nor "..".
    EOT
  }
}

variable "max_active_jobs" {
  description = "Active jobs of a route that sets neither max_active_jobs nor quota_code: at most the model's quota."
  type        = number
  default     = 10
  nullable    = false

  validation {
    condition     = var.max_active_jobs >= 1 && floor(var.max_active_jobs) == var.max_active_jobs
    error_message = "max_active_jobs is ${var.max_active_jobs}: write a whole number of 1 or more, such as 10."
  }
}

# Names and tags

variable "name" {
  description = "First part of the name of every resource: 3 to 30 lowercase letters, digits and single hyphens."
  type        = string
  default     = "br-batch-inference"
  nullable    = false

  validation {
    condition     = length(var.name) >= 3 && length(var.name) <= 30 && can(regex("^[a-z0-9]+(-[a-z0-9]+)*$", var.name))
    error_message = "name is \"${var.name}\" (${length(var.name)} characters): ${local.advice.name}"
  }
}

variable "tags" {
  description = <<-EOT
    Tags for all resources and for the Bedrock jobs, in addition to Queue = name. Tags that Bedrock jobs need must be
    given here: the provider's default_tags do not reach them.
  EOT
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition = alltrue([
      for key, value in var.tags : !startswith(lower(key), "aws:") &&
      can(regex(local.patterns.tag_key, key)) && can(regex(local.patterns.tag_value, value))
    ])
    error_message = "A tag in tags cannot be used: ${local.advice.tags}"
  }

  validation {
    condition     = length(setsubtract(keys(var.tags), ["Queue"])) <= 49
    error_message = "tags has ${length(setsubtract(keys(var.tags), ["Queue"]))} tags: write 49 or fewer. AWS takes 50 for a resource, and one of them is Queue."
  }
}

# The bucket

variable "bucket_name" {
  description = "Name of the bucket to create or to use. Default: {name}-{account}-{region}."
  type        = string
  default     = null

  validation {
    condition     = var.bucket_name == null || can(regex(local.patterns.bucket, var.bucket_name))
    error_message = "bucket_name is the name alone: write \"my-bucket\", not an ARN, a URI or a path."
  }

  validation {
    condition = !anytrue([
      for pattern in values(local.no_bucket_names) : can(regex(pattern, var.bucket_name))
    ])
    error_message = join(" ", [
      "bucket_name is ${jsonencode(var.bucket_name)}, but the name of a bucket cannot",
      join(" or ", [for rule, pattern in local.no_bucket_names : rule if can(regex(pattern, var.bucket_name))]),
      "(S3's rules for names): write another, such as \"my-bucket\".",
    ])
  }
}

variable "create_bucket" {
  description = "Whether to create the bucket. If false, the bucket bucket_name is used and keeps its settings."
  type        = bool
  default     = true
  nullable    = false

  validation {
    condition     = var.create_bucket || var.bucket_name != null
    error_message = "create_bucket = false needs the name of the bucket to use: write bucket_name = \"my-bucket\", or leave create_bucket out to have one made."
  }
}

variable "bucket_owner" {
  description = <<-EOT
    ID of the account that owns the bucket, if it is not the queue's own: only with create_bucket = false. The bucket's
    policy must let the queue's roles in, as the README of examples/existing-bucket shows.
  EOT
  type        = string
  default     = null

  validation {
    condition     = var.bucket_owner == null || can(regex("^[0-9]{12}$", var.bucket_owner))
    error_message = "bucket_owner is ${jsonencode(var.bucket_owner)}: write the 12 digits of an account ID in quotes, such as \"123456789012\"."
  }

  validation {
    condition     = var.bucket_owner == null || !var.create_bucket
    error_message = "bucket_owner is for a bucket that exists in another account, but the module creates the bucket, in the queue's own account: write create_bucket = false and bucket_name, or leave bucket_owner out."
  }
}

variable "manage_bucket_notification" {
  description = <<-EOT
    Whether to set the bucket's only notification configuration, which replaces the notifications of other users of the
    bucket. Default: create_bucket. If false, add the output bucket_notification to the bucket's configuration, as
    examples/existing-bucket shows.
  EOT
  type        = bool
  default     = null
}

variable "eventbridge_notifications" {
  description = <<-EOT
    Whether S3 also sends the events of all objects of the bucket to EventBridge, for rules of other stacks, such as one
    for new results. Only if the module manages the bucket's notification configuration.
  EOT
  type        = bool
  default     = false
  nullable    = false

  validation {
    condition     = !var.eventbridge_notifications || coalesce(var.manage_bucket_notification, var.create_bucket)
    error_message = "eventbridge_notifications is true, but the module does not manage the notification configuration of the bucket: write eventbridge = true in the aws_s3_bucket_notification that does, or set manage_bucket_notification = true."
  }
}

variable "input_prefix" {
  description = "Prefix of the uploads, with a slash at the end."
  type        = string
  default     = "to-process/"
  nullable    = false

  validation {
    condition     = can(regex(local.patterns.prefix, var.input_prefix))
    error_message = "input_prefix is \"${var.input_prefix}\": ${local.advice.prefix}"
  }
}

variable "output_prefix" {
  description = "Prefix of the results, with a slash at the end."
  type        = string
  default     = "processed/"
  nullable    = false

  validation {
    condition     = can(regex(local.patterns.prefix, var.output_prefix))
    error_message = "output_prefix is \"${var.output_prefix}\": ${local.advice.prefix}"
  }
}

variable "work_prefix" {
  description = <<-EOT
    Prefix of the work area, which holds staged inputs and job outputs, with a slash at the end. Change it only while no
    upload is pending or running: the functions lose access to what is under the old prefix.
  EOT
  type        = string
  default     = "jobs/"
  nullable    = false

  validation {
    condition     = can(regex(local.patterns.prefix, var.work_prefix))
    error_message = "work_prefix is \"${var.work_prefix}\": ${local.advice.prefix}"
  }

  validation {
    condition = alltrue([
      for pair in [
        [var.input_prefix, var.output_prefix], [var.input_prefix, var.work_prefix], [var.output_prefix, var.work_prefix],
      ] : !startswith(pair[0], pair[1]) && !startswith(pair[1], pair[0])
    ])
    error_message = "input_prefix is \"${var.input_prefix}\", output_prefix is \"${var.output_prefix}\" and work_prefix is \"${var.work_prefix}\": ${local.advice.folders}"
  }
}

variable "media_prefixes" {
  description = <<-EOT
    Prefixes of the objects that records of routes with media = true can reference, each with a slash at the end.
    Default: input_prefix. Whoever can upload can have the model read everything below them.
  EOT
  type        = list(string)
  default     = null

  validation {
    condition = var.media_prefixes == null || try(length(var.media_prefixes) > 0 && alltrue([
      for prefix in var.media_prefixes : can(regex(local.patterns.prefix, prefix)) && alltrue([
        for other in [var.output_prefix, var.work_prefix] : !startswith(prefix, other) && !startswith(other, prefix)
      ])
    ]), false)
    error_message = "media_prefixes is ${jsonencode(var.media_prefixes)}: ${local.advice.media}"
  }
}

variable "work_retention_days" {
  description = "Days for which a bucket that the module creates keeps deleted objects of the work area as noncurrent versions: 1 or more. The module deletes these objects when nothing reads them any more."
  type        = number
  default     = 14
  nullable    = false

  validation {
    condition     = var.work_retention_days >= 1 && floor(var.work_retention_days) == var.work_retention_days
    error_message = "work_retention_days is ${var.work_retention_days}: write a whole number of 1 or more, such as 14."
  }
}

variable "uploads_retention_days" {
  description = <<-EOT
    Days after which objects below input_prefix expire, in a bucket that the module creates; null keeps them. 8 or more,
    because a job can run for 7 days. S3 keeps an expired object as a noncurrent version for another 30 days, or
    work_retention_days if that is more. An upload that is in no job by then ends as Cancelled. Referenced media cannot
    be copied any more once it has expired.
  EOT
  type        = number
  default     = null

  validation {
    condition     = var.uploads_retention_days == null || var.create_bucket
    error_message = "uploads_retention_days ${local.advice.lifecycle}"
  }

  validation {
    condition = var.uploads_retention_days == null || try(
      var.uploads_retention_days >= 8 && floor(var.uploads_retention_days) == var.uploads_retention_days, false
    )
    error_message = "uploads_retention_days is ${coalesce(var.uploads_retention_days, 0)}: write a whole number of 8 or more, such as 90, or leave it out to keep uploads."
  }
}

variable "results_retention_days" {
  description = <<-EOT
    Days after which objects below output_prefix expire, in a bucket that the module creates; null keeps them. S3 keeps
    an expired object as a noncurrent version for another 30 days, or work_retention_days if that is more. As long as an
    upload is in the bucket, its summary keeps it from running again if the table is replaced: set
    uploads_retention_days to fewer days.
  EOT
  type        = number
  default     = null

  validation {
    condition     = var.results_retention_days == null || var.create_bucket
    error_message = "results_retention_days ${local.advice.lifecycle}"
  }

  validation {
    condition = var.results_retention_days == null || try(
      var.results_retention_days >= 1 && floor(var.results_retention_days) == var.results_retention_days, false
    )
    error_message = "results_retention_days is ${coalesce(var.results_retention_days, 0)}: write a whole number of 1 or more, such as 90, or leave it out to keep results."
  }
}

variable "row_retention_days" {
  description = <<-EOT
    Days after which DynamoDB deletes the rows of uploads and jobs that have ended; null keeps them. It may take two days
    more. An upload without a row does not run again as long as its summary or rejection report is below output_prefix:
    in a bucket of your own, keep these longer than the uploads.
  EOT
  type        = number
  default     = null

  validation {
    condition = var.row_retention_days == null || try(
      var.row_retention_days >= 1 && floor(var.row_retention_days) == var.row_retention_days, false
    )
    error_message = "row_retention_days is ${coalesce(var.row_retention_days, 0)}: write a whole number of 1 or more, such as 90, or leave it out to keep rows."
  }

  validation {
    condition = var.row_retention_days == null || var.results_retention_days == null || try(
      var.uploads_retention_days < var.results_retention_days, false
    )
    error_message = "row_retention_days needs the summary of each upload: without it and without a row, the sweep takes an upload for new, and you pay for it again. results_retention_days is ${coalesce(var.results_retention_days, 0)}: set uploads_retention_days to fewer days than that, or leave results_retention_days out."
  }
}

variable "bucket_policy_documents" {
  description = <<-EOT
    JSON policy documents whose statements become part of the bucket's policy, in a bucket that the module creates. A
    bucket has only one policy: an aws_s3_bucket_policy of your own and the module's would replace each other.
  EOT
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = length(var.bucket_policy_documents) == 0 || var.create_bucket
    error_message = "bucket_policy_documents is for a bucket that the module creates, but create_bucket is false: add the statements to the policy of the bucket, in the configuration that owns it, and leave the input out."
  }

  validation {
    condition     = alltrue([for document in var.bucket_policy_documents : can(jsondecode(document).Statement)])
    error_message = "bucket_policy_documents takes JSON policy documents with a Statement: write [data.aws_iam_policy_document.my_bucket.json]."
  }

  # Of two statements with the same Sid, the provider would keep the module's and drop the other.
  validation {
    condition = !anytrue(flatten([
      for document in var.bucket_policy_documents : [
        for statement in try(flatten([jsondecode(document).Statement]), []) : try(statement.Sid, "") == "DenyWithoutTls"
      ]
    ]))
    error_message = "bucket_policy_documents has a statement with the Sid DenyWithoutTls, which is the module's own: leave the statement out, or give it another Sid."
  }
}

variable "force_destroy" {
  description = "Whether terraform destroy deletes the bucket even if it contains uploads and results."
  type        = bool
  default     = false
  nullable    = false
}

# Schedules and roles

variable "schedule_expression" {
  description = "How often process_batch_jobs runs even when no event starts it, as rate(…) or cron(…) in UTC."
  type        = string
  default     = "rate(15 minutes)"
  nullable    = false

  validation {
    condition     = can(regex(local.patterns.schedule, var.schedule_expression))
    error_message = "schedule_expression is \"${var.schedule_expression}\": ${local.advice.schedule}"
  }
}

variable "sweep_schedule_expression" {
  description = <<-EOT
    How often create_batch_queue looks for uploads whose S3 event was lost, as rate(…) or cron(…) in UTC; null for
    never. Each run takes every .jsonl object below input_prefix that is at least an hour old, has no row in the table
    and has never run, including objects that are older than the queue.
  EOT
  type        = string
  default     = "rate(1 day)"

  validation {
    condition = var.sweep_schedule_expression == null || can(
      regex(local.patterns.schedule, var.sweep_schedule_expression)
    )
    error_message = "sweep_schedule_expression is ${jsonencode(var.sweep_schedule_expression)}: ${local.advice.schedule}"
  }
}

variable "create_role" {
  description = "Whether to create the service role of the Bedrock jobs. If false, they use role_arn."
  type        = bool
  default     = true
  nullable    = false
}

variable "role_arn" {
  description = "With create_role = false: the ARN of the service role of the Bedrock jobs."
  type        = string
  default     = null

  validation {
    condition     = var.role_arn == null || can(regex(local.patterns.role_arn, var.role_arn))
    error_message = "role_arn is not the ARN of a role: write arn:aws:iam::123456789012:role/my-bedrock-role."
  }

  validation {
    condition     = var.create_role || var.role_arn != null
    error_message = "create_role = false needs the ARN of the role to use: write role_arn = \"arn:aws:iam::123456789012:role/my-bedrock-role\", or leave create_role out to have a role created."
  }

  validation {
    condition     = !var.create_role || var.role_arn == null
    error_message = "role_arn is given, but create_role is true: write create_role = false to use that role, or leave role_arn out to have a role created."
  }
}

variable "permissions_boundary" {
  description = "ARN of the policy that is the permissions boundary of all roles created here."
  type        = string
  default     = null

  validation {
    condition     = var.permissions_boundary == null || can(regex(local.patterns.policy_arn, var.permissions_boundary))
    error_message = "permissions_boundary must be an ARN: write arn:aws:iam::123456789012:policy/my-boundary."
  }
}

variable "role_path" {
  description = "Path of all roles created here."
  type        = string
  default     = "/"
  nullable    = false

  validation {
    condition     = can(regex("^/([!-~]+/)?$", var.role_path)) && length(var.role_path) <= 512
    error_message = "role_path is \"${var.role_path}\": write \"/\" or a path such as \"/my-team/\"."
  }
}

# Encryption and network

variable "kms_key_arn" {
  description = <<-EOT
    ARN of a customer managed KMS key for bucket, table, dead-letter queue, log groups and the functions' environment.
    Its policy must allow EventBridge and CloudWatch Logs to use it: modules/kms-key creates such a key, docs/kms.md
    explains it. Default: S3, SQS and CloudWatch Logs use keys of their own, DynamoDB uses aws/dynamodb.
  EOT
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null || can(regex(local.patterns.key_arn, var.kms_key_arn))
    error_message = "kms_key_arn is ${jsonencode(var.kms_key_arn)}: ${local.advice.key_arn}"
  }
}

variable "vpc" {
  description = <<-EOT
    Subnets and security groups of the functions. Default: they run outside a VPC. From there they must reach S3,
    DynamoDB, Lambda, EventBridge and Bedrock, SNS with notification_topic_arn, and Bedrock's runtime if a route is
    on_demand or flex: see docs/vpc.md and examples/complete.
  EOT
  type        = object({ subnet_ids = list(string), security_group_ids = list(string) })
  default     = null

  validation {
    condition = var.vpc == null || alltrue([
      for attribute, ids in local.network_ids : try(
        contains(range(1, ids.most + 1), length(var.vpc[attribute])) &&
        alltrue([for id in var.vpc[attribute] : can(regex(ids.pattern, id))]), false,
      )
    ])
    error_message = "vpc is ${jsonencode(var.vpc)}: ${local.advice.network}"
  }
}

variable "job_vpc" {
  description = "Subnets and security groups through which Bedrock's jobs reach the bucket: see docs/vpc.md."
  type        = object({ subnet_ids = list(string), security_group_ids = list(string) })
  default     = null

  validation {
    condition = var.job_vpc == null || alltrue([
      for attribute, ids in local.network_ids : try(
        contains(range(1, ids.most + 1), length(var.job_vpc[attribute])) &&
        alltrue([for id in var.job_vpc[attribute] : can(regex(ids.pattern, id))]), false,
      )
    ])
    error_message = "job_vpc is ${jsonencode(var.job_vpc)}: ${local.advice.network}"
  }
}

# The functions

variable "lambda_runtime" {
  description = "Lambda runtime of the functions: Python 3.11 or newer."
  type        = string
  default     = "python3.13"
  nullable    = false

  validation {
    condition     = can(regex("^python3\\.(1[1-9]|[2-9][0-9])$", var.lambda_runtime))
    error_message = "lambda_runtime is \"${var.lambda_runtime}\": write python3.11 or newer, such as python3.13."
  }
}

variable "lambda_architecture" {
  description = "Instruction set of the functions: \"arm64\", which costs less, or \"x86_64\", for layers that need it."
  type        = string
  default     = "arm64"
  nullable    = false

  validation {
    condition     = contains(["arm64", "x86_64"], var.lambda_architecture)
    error_message = "lambda_architecture is \"${var.lambda_architecture}\": write \"arm64\" or \"x86_64\"."
  }
}

variable "lambda_memory_size" {
  description = "Memory of each function in MB. The default is enough for the longest line that a model accepts (25 MB) and for files of 50 million records; with less than 1,000 MB, a file can have 50,000 records for each MB."
  type        = number
  default     = 1024
  nullable    = false

  validation {
    condition     = var.lambda_memory_size == floor(max(256, min(10240, var.lambda_memory_size)))
    error_message = "lambda_memory_size is ${var.lambda_memory_size}: write a whole number from 256 to 10240."
  }
}

variable "manage_recursion_config" {
  description = <<-EOT
    Whether to exempt the functions, which invoke themselves and each other while there is work, from Lambda's recursive
    loop detection. It stops such functions after about 16 rounds. Default: true. In AWS GovCloud (US), Mexico (Central)
    and Asia Pacific (New Zealand), which do not have it, the plan asks you to write false.
  EOT
  type        = bool
  default     = null
}

variable "lambda_reserved_concurrency" {
  description = <<-EOT
    Reserved concurrency by function, such as { create_batch_queue = 50 }. It is also the function's limit: no more
    instances run at the same time. 1 or more; 2 or more for process_batch_jobs. Lambda reserves it from the account's
    concurrency, which other functions then cannot use. Events that wait for more than six hours go to the dead-letter
    queue. Default: none is reserved.
  EOT
  type        = map(number)
  default     = {}
  nullable    = false

  # One run of process_batch_jobs holds the lease; a second one tells it of new work.
  validation {
    condition = alltrue([
      for function, number in var.lambda_reserved_concurrency : number == null || try(
        number >= local.least_concurrency[function] && floor(number) == number, false
      )
    ]) && length(setsubtract(keys(var.lambda_reserved_concurrency), keys(local.least_concurrency))) == 0
    error_message = "lambda_reserved_concurrency is ${jsonencode(var.lambda_reserved_concurrency)}: ${local.advice.concurrency}"
  }
}

variable "lambda_environment" {
  description = "More environment variables for the functions, such as AWS_ENDPOINT_URL_BEDROCK."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for key in keys(var.lambda_environment) : can(regex("^[a-zA-Z][a-zA-Z0-9_]+$", key))])
    error_message = "Keys of lambda_environment are a letter, then letters, digits and _: write them so."
  }

  validation {
    condition     = length(setintersection(keys(var.lambda_environment), local.own_environment)) == 0
    error_message = "The module itself sets ${join(", ", local.own_environment)}: use the inputs that they come from."
  }

  validation {
    condition     = length(setintersection(keys(var.lambda_environment), local.lambda_environment)) == 0
    error_message = "lambda_environment has ${join(", ", setintersection(keys(var.lambda_environment), local.lambda_environment))}, which Lambda itself sets: leave it out."
  }
}

variable "lambda_layers" {
  description = "ARNs of up to five layer versions for the functions, such as one with a newer boto3."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition = length(var.lambda_layers) <= 5 && alltrue([
      for arn in var.lambda_layers : can(regex(local.patterns.layer_arn, arn))
    ])
    error_message = "lambda_layers takes up to 5 ARNs: write [\"arn:aws:lambda:us-east-1:123456789012:layer:boto3:1\"]."
  }
}

# Monitoring and protection

variable "log_retention_days" {
  description = "Number of days for which the functions' logs are kept."
  type        = number
  default     = 365
  nullable    = false

  validation {
    condition     = contains(local.log_retention_days, var.log_retention_days)
    error_message = "log_retention_days is ${var.log_retention_days}: write ${join(", ", local.log_retention_days)}."
  }
}

variable "log_level" {
  description = "Lowest level that the functions log: INFO, WARNING or ERROR. The metrics are sent at every level."
  type        = string
  default     = "INFO"
  nullable    = false

  validation {
    condition     = contains(["INFO", "WARNING", "ERROR"], var.log_level)
    error_message = "log_level is \"${var.log_level}\": write \"INFO\", \"WARNING\" or \"ERROR\". The functions log nothing below INFO."
  }
}

variable "tracing" {
  description = <<-EOT
    Whether AWS X-Ray traces the functions. A trace shows each run with its start, duration and errors, but not the calls
    within it, because the package has no X-Ray SDK. X-Ray bills traces.
  EOT
  type        = bool
  default     = false
  nullable    = false
}

variable "alarm_actions" {
  description = "ARNs, such as that of an SNS topic, that are notified when an alarm starts."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for arn in var.alarm_actions : can(regex("^arn:aws[a-z-]*:", arn))])
    error_message = "alarm_actions takes ARNs: write [\"arn:aws:sns:us-east-1:123456789012:my-topic\"]."
  }
}

variable "ok_actions" {
  description = "ARNs that are notified when an alarm ends. Default: alarm_actions. Write [] to notify nobody."
  type        = list(string)
  default     = null

  validation {
    condition     = alltrue([for arn in coalesce(var.ok_actions, []) : can(regex("^arn:aws[a-z-]*:", arn))])
    error_message = "ok_actions takes ARNs: write [\"arn:aws:sns:us-east-1:123456789012:my-topic\"], [] for none, or leave it out for those of alarm_actions."
  }
}

variable "event_bus_arn" {
  description = <<-EOT
    ARN of the EventBridge bus that gets the queue's events: Upload Accepted, Upload Ended, Job Submitted and Job Ended.
    See docs/events.md. A bus of another account must allow the role of publish_events to send to it. Default: the
    default bus of the account.
  EOT
  type        = string
  default     = null

  validation {
    condition     = var.event_bus_arn == null || can(regex(local.patterns.bus_arn, var.event_bus_arn))
    error_message = "event_bus_arn is ${jsonencode(var.event_bus_arn)}: write the ARN of an event bus, such as arn:aws:events:us-east-1:123456789012:event-bus/my-bus, or leave it out to use the default bus."
  }
}

variable "notification_topic_arn" {
  description = <<-EOT
    ARN of an SNS topic that gets a message for people when an upload has ended with one of the statuses notify_on: what
    happened, where the files are, and what to do. A standard topic, not FIFO. If it is encrypted, its key must let the
    role of publish_events use it: kms_key_arn does, see docs/events.md. Default: nobody gets messages.
  EOT
  type        = string
  default     = null

  validation {
    condition     = var.notification_topic_arn == null || can(regex(local.patterns.topic_arn, var.notification_topic_arn))
    error_message = "notification_topic_arn is ${jsonencode(var.notification_topic_arn)}: write the ARN of a standard SNS topic, such as arn:aws:sns:us-east-1:123456789012:my-topic, or leave it out to send no messages."
  }
}

variable "notify_on" {
  description = <<-EOT
    With notification_topic_arn: the statuses of uploads about whose end people are told. Any of Completed,
    PartiallyCompleted, Failed, Stopped, Expired, Rejected and Cancelled. Default: all but Completed.
  EOT
  type        = set(string)
  default     = ["PartiallyCompleted", "Failed", "Stopped", "Expired", "Rejected", "Cancelled"]
  nullable    = false

  validation {
    condition     = length(var.notify_on) > 0 && length(setsubtract(var.notify_on, local.terminal_statuses)) == 0
    error_message = "notify_on is ${jsonencode(var.notify_on)}: write one or more of ${join(", ", local.terminal_statuses)}. To send no messages, leave notification_topic_arn out."
  }
}

variable "pending_age_alarm_hours" {
  description = "Number of hours that work can wait before the alarm oldest_pending starts."
  type        = number
  default     = 24
  nullable    = false

  validation {
    condition     = var.pending_age_alarm_hours > 0
    error_message = "pending_age_alarm_hours is ${var.pending_age_alarm_hours}: write a number above 0, such as 24."
  }
}

variable "failed_records_alarm_percent" {
  description = <<-EOT
    Percentage of the records that ended within an hour that can fail before the alarm failed_records starts. null for no
    such alarm.
  EOT
  type        = number
  default     = 10

  validation {
    condition     = var.failed_records_alarm_percent == null ? true : var.failed_records_alarm_percent >= 0 && var.failed_records_alarm_percent < 100
    error_message = "failed_records_alarm_percent is ${coalesce(var.failed_records_alarm_percent, 0)}: write a number from 0 to less than 100, such as 10, or null for no alarm."
  }
}

variable "stalled_job_alarm_minutes" {
  description = <<-EOT
    Number of minutes in which Bedrock can process no token, although records wait, before the alarm stalled_jobs of a
    route starts. null for no such alarms.
  EOT
  type        = number
  default     = 30

  validation {
    condition = var.stalled_job_alarm_minutes == null ? true : (
      var.stalled_job_alarm_minutes >= 10 && var.stalled_job_alarm_minutes <= 1440 && var.stalled_job_alarm_minutes % 5 == 0
    )
    error_message = "stalled_job_alarm_minutes is ${coalesce(var.stalled_job_alarm_minutes, 0)}: write a multiple of 5 from 10 to 1440, such as 30, or null for no alarm."
  }
}

variable "create_dashboard" {
  description = "Whether to create a CloudWatch dashboard. CloudWatch bills dashboards beyond the first three of an account."
  type        = bool
  default     = true
  nullable    = false
}

variable "deletion_protection" {
  description = "Whether the table is protected against deletion, including by terraform destroy."
  type        = bool
  default     = false
  nullable    = false
}
