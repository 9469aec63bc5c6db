# The model, and where its uploads come from

variable "model_id" {
  description = "The model of the route \"default\", which takes every upload that has no route of its own: id or ARN of a foundation model, id or ARN of an inference profile, or ARN of an application inference profile or custom model."
  type        = string
  nullable    = false

  validation {
    condition     = !can(regex(":provisioned-model/", var.model_id))
    error_message = "Batch inference does not run on provisioned throughput: write the id of the model itself, such as anthropic.claude-3-5-haiku-20241022-v1:0, not ${var.model_id}."
  }

  validation {
    condition = (
      can(regex("^[a-z0-9-]+\\.[a-zA-Z0-9.:-]+$", var.model_id)) ||
      can(regex("^arn:aws[a-z-]*:bedrock:[a-z0-9-]+:([0-9]{12})?:(foundation-model|inference-profile|application-inference-profile|custom-model|provisioned-model)/[a-zA-Z0-9./:-]+$", var.model_id))
    )
    error_message = "model_id \"${var.model_id}\" is neither a model id nor a Bedrock model ARN: write provider.model, such as anthropic.claude-3-5-haiku-20241022-v1:0, an inference profile such as us.anthropic.claude-3-5-haiku-20241022-v1:0, or an ARN arn:aws:bedrock:…:foundation-model/…, inference-profile/…, application-inference-profile/… or custom-model/…."
  }
}

variable "routes" {
  description = <<-EOT
    More routes, by the name of their folder below the input prefix: uploads to to-process/<name>/ go the route <name>. Route "default" takes the rest: give it here to set more of it than model_id and max_active_jobs. Of a route:
    - model_id: as the input model_id; required, but for the route default, which has the input model_id.
    - invocation_type: InvokeModel (the default: modelInput is the model's own request) or Converse.
    - max_active_jobs: how many jobs of this route may be active at once; by default as the input max_active_jobs.
    - quota_code: in place of max_active_jobs, the code (L-XXXXXXXX) of the model's quota "Sum of in-progress and submitted batch inference jobs", whose value each plan reads from Service Quotas.
    - reserved_slots: how many of these jobs are left to others in the account; by default 0.
    - priority: 0 to 100, by default 50; the higher goes first where routes share a model.
    - timeout_hours: 24 to 168, after which Bedrock ends a job; by default Bedrock's own.
    - min_records_per_job, max_records_per_job: the model's quotas of records in a job; by default 100 and 50000.
    - max_records_per_file, max_bytes_per_file, max_bytes_per_job: its quotas of records and bytes in a file and of bytes in a job; by default 50000, 1000000000 and 5000000000. A larger upload is cut, and its result put together again.
    - pack_wait_minutes: 0 to 1440, by default 15; how long fewer records than min_records_per_job wait for others to share a job with.
    - undersized: what becomes of them then: "reject" (the default) or "on_demand", which runs them through InvokeModel or Converse at the on-demand price.
    - max_record_attempts: 1 to 10, by default 3; how often a record is run that fails for a passing reason.
    - media: true where modelInput names images or videos of the bucket by S3 URI, which are then put beside the job's input; by default false.
    - prices: object with input_per_million_tokens and output_per_million_tokens, to have each upload's cost in its summary; in whatever currency.
    - tags: more tags for the jobs of this route.
  EOT
  type = map(object({
    model_id             = optional(string)
    invocation_type      = optional(string, "InvokeModel")
    max_active_jobs      = optional(number)
    quota_code           = optional(string)
    reserved_slots       = optional(number, 0)
    priority             = optional(number, 50)
    timeout_hours        = optional(number)
    min_records_per_job  = optional(number, 100)
    max_records_per_job  = optional(number, 50000)
    max_records_per_file = optional(number, 50000)
    max_bytes_per_file   = optional(number, 1000000000)
    max_bytes_per_job    = optional(number, 5000000000)
    pack_wait_minutes    = optional(number, 15)
    undersized           = optional(string, "reject")
    max_record_attempts  = optional(number, 3)
    media                = optional(bool, false)
    prices = optional(object({
      input_per_million_tokens  = number
      output_per_million_tokens = number
    }))
    tags = optional(map(string), {})
  }))
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for name in keys(var.routes) : can(regex("^[a-zA-Z0-9!_.*'()-]{1,64}$", name)) && !contains([".", ".."], name)])
    error_message = "A route's name is the name of one folder: write 1 to 64 letters, digits or ! _ . * ' ( ) -, not ${join(", ", [for name in keys(var.routes) : "\"${name}\"" if !can(regex("^[a-zA-Z0-9!_.*'()-]{1,64}$", name)) || contains([".", ".."], name)])}."
  }

  validation {
    condition     = alltrue([for name, route in var.routes : route.model_id != null || name == "default"])
    error_message = "A route needs a model: write model_id = \"anthropic.claude-3-5-haiku-20241022-v1:0\" (or another model, profile or ARN) in ${join(", ", [for name, route in var.routes : "routes[\"${name}\"]" if route.model_id == null && name != "default"])}."
  }

  validation {
    condition     = alltrue([for route in var.routes : !can(regex(":provisioned-model/", route.model_id))])
    error_message = "Batch inference does not run on provisioned throughput: write the id of the model itself as model_id of ${join(", ", [for name, route in var.routes : "routes[\"${name}\"]" if can(regex(":provisioned-model/", route.model_id))])}."
  }

  validation {
    condition = alltrue([
      for route in var.routes : route.model_id == null ||
      can(regex("^[a-z0-9-]+\\.[a-zA-Z0-9.:-]+$", route.model_id)) ||
      can(regex("^arn:aws[a-z-]*:bedrock:[a-z0-9-]+:([0-9]{12})?:(foundation-model|inference-profile|application-inference-profile|custom-model|provisioned-model)/[a-zA-Z0-9./:-]+$", route.model_id))
    ])
    error_message = "The model_id of a route is a model id (provider.model, such as anthropic.claude-3-5-haiku-20241022-v1:0), an inference profile such as us.anthropic.claude-3-5-haiku-20241022-v1:0, or an ARN arn:aws:bedrock:…:foundation-model/…, inference-profile/…, application-inference-profile/… or custom-model/…; see ${join(", ", [for name, route in var.routes : "routes[\"${name}\"].model_id = \"${coalesce(route.model_id, "null")}\""])}."
  }

  validation {
    condition     = alltrue([for route in var.routes : contains(["InvokeModel", "Converse"], coalesce(route.invocation_type, "null"))])
    error_message = "Unknown invocation type: write invocation_type = \"InvokeModel\" or \"Converse\" in ${join(", ", [for name, route in var.routes : "routes[\"${name}\"] (now \"${coalesce(route.invocation_type, "null")}\")" if !contains(["InvokeModel", "Converse"], coalesce(route.invocation_type, "null"))])}."
  }

  validation {
    condition     = alltrue([for route in var.routes : route.max_active_jobs == null || try(route.max_active_jobs >= 1 && floor(route.max_active_jobs) == route.max_active_jobs, false)])
    error_message = "max_active_jobs of a route is a whole number from 1 on; leave it out for that of the input max_active_jobs."
  }

  validation {
    condition     = alltrue([for route in var.routes : route.quota_code == null || can(regex("^L-[0-9A-F]{8}$", route.quota_code))])
    error_message = "quota_code is the code of a quota in Service Quotas: write it as \"L-1A2B3C4D\" (aws service-quotas list-service-quotas --service-code bedrock has it as QuotaCode) in ${join(", ", [for name, route in var.routes : "routes[\"${name}\"] (now \"${coalesce(route.quota_code, "null")}\")" if !can(regex("^L-[0-9A-F]{8}$", coalesce(route.quota_code, "L-00000000")))])}."
  }

  validation {
    condition     = alltrue([for route in var.routes : route.quota_code == null || route.max_active_jobs == null])
    error_message = "A route's limit of jobs is either a number or a quota: write max_active_jobs or quota_code, not both, in ${join(", ", [for name, route in var.routes : "routes[\"${name}\"]" if route.quota_code != null && route.max_active_jobs != null])}."
  }

  validation {
    condition     = alltrue([for route in var.routes : try(route.reserved_slots >= 0 && floor(route.reserved_slots) == route.reserved_slots, false)])
    error_message = "reserved_slots is a whole number from 0 on: write one, or leave it out to reserve none, in ${join(", ", [for name, route in var.routes : "routes[\"${name}\"]" if !try(route.reserved_slots >= 0 && floor(route.reserved_slots) == route.reserved_slots, false)])}."
  }

  # Where the limit comes from a quota, the route's row (table.tf) has the same condition.
  validation {
    condition     = alltrue([for route in var.routes : route.quota_code != null || try(route.reserved_slots < coalesce(route.max_active_jobs, var.max_active_jobs), false)])
    error_message = "Reserving every slot leaves the route none: write reserved_slots below max_active_jobs in ${join(", ", [for name, route in var.routes : "routes[\"${name}\"] (${route.reserved_slots} of ${coalesce(route.max_active_jobs, var.max_active_jobs)})" if route.quota_code == null && !try(route.reserved_slots < coalesce(route.max_active_jobs, var.max_active_jobs), false)])}."
  }

  validation {
    condition     = alltrue([for route in var.routes : try(route.priority >= 0 && route.priority <= 100 && floor(route.priority) == route.priority, false)])
    error_message = "priority of a route is a whole number from 0 (last) to 100 (first); leave it out for 50."
  }

  validation {
    condition     = alltrue([for route in var.routes : route.timeout_hours == null || try(route.timeout_hours >= 24 && route.timeout_hours <= 168 && floor(route.timeout_hours) == route.timeout_hours, false)])
    error_message = "timeout_hours of a route is a whole number from 24 to 168, which is what Bedrock allows; leave it out for Bedrock's own."
  }

  validation {
    condition     = alltrue([for route in var.routes : alltrue([for limit in [route.min_records_per_job, route.max_records_per_job, route.max_records_per_file] : try(limit >= 1 && floor(limit) == limit, false)])])
    error_message = "min_records_per_job, max_records_per_job and max_records_per_file are whole numbers from 1 on: write the model's quotas, or leave them out for 100, 50000 and 50000, in ${join(", ", [for name, route in var.routes : "routes[\"${name}\"]" if !alltrue([for limit in [route.min_records_per_job, route.max_records_per_job, route.max_records_per_file] : try(limit >= 1 && floor(limit) == limit, false)])])}."
  }

  validation {
    condition     = alltrue([for route in var.routes : try(route.min_records_per_job <= route.max_records_per_job, false)])
    error_message = "A job cannot have at least ${join(", ", [for name, route in var.routes : "${route.min_records_per_job} and at most ${route.max_records_per_job} records (routes[\"${name}\"])" if !try(route.min_records_per_job <= route.max_records_per_job, false)])}: write min_records_per_job (by default 100) as at most max_records_per_job (by default 50000)."
  }

  # Below a thousand it is somebody who thinks of gigabytes.
  validation {
    condition     = alltrue([for route in var.routes : alltrue([for limit in [route.max_bytes_per_file, route.max_bytes_per_job] : try(limit >= 1000 && floor(limit) == limit, false)])])
    error_message = "max_bytes_per_file and max_bytes_per_job are whole numbers of bytes from 1000 on: write 1 GB as 1000000000, or leave them out for 1000000000 and 5000000000, in ${join(", ", [for name, route in var.routes : "routes[\"${name}\"]" if !alltrue([for limit in [route.max_bytes_per_file, route.max_bytes_per_job] : try(limit >= 1000 && floor(limit) == limit, false)])])}."
  }

  validation {
    condition     = alltrue([for route in var.routes : try(route.pack_wait_minutes >= 0 && route.pack_wait_minutes <= 1440 && floor(route.pack_wait_minutes) == route.pack_wait_minutes, false)])
    error_message = "pack_wait_minutes is a whole number from 0 (do not wait) to 1440 (a day): write one, or leave it out for 15, in ${join(", ", [for name, route in var.routes : "routes[\"${name}\"]" if !try(route.pack_wait_minutes >= 0 && route.pack_wait_minutes <= 1440 && floor(route.pack_wait_minutes) == route.pack_wait_minutes, false)])}."
  }

  validation {
    condition     = alltrue([for route in var.routes : contains(["reject", "on_demand"], coalesce(route.undersized, "null"))])
    error_message = "What becomes of too few records for a job is one of two: write undersized = \"reject\" or \"on_demand\" in ${join(", ", [for name, route in var.routes : "routes[\"${name}\"] (now \"${coalesce(route.undersized, "null")}\")" if !contains(["reject", "on_demand"], coalesce(route.undersized, "null"))])}."
  }

  validation {
    condition     = alltrue([for name, route in var.routes : route.undersized != "on_demand" || !strcontains(coalesce(route.model_id, var.model_id), ":custom-model/")])
    error_message = "A custom model cannot be invoked on demand by its own ARN: write undersized = \"reject\" in ${join(", ", [for name, route in var.routes : "routes[\"${name}\"]" if route.undersized == "on_demand" && strcontains(coalesce(route.model_id, var.model_id), ":custom-model/")])}."
  }

  validation {
    condition     = alltrue([for route in var.routes : try(route.max_record_attempts >= 1 && route.max_record_attempts <= 10 && floor(route.max_record_attempts) == route.max_record_attempts, false)])
    error_message = "max_record_attempts is a whole number from 1 (run no record again) to 10: write one, or leave it out for 3, in ${join(", ", [for name, route in var.routes : "routes[\"${name}\"]" if !try(route.max_record_attempts >= 1 && route.max_record_attempts <= 10 && floor(route.max_record_attempts) == route.max_record_attempts, false)])}."
  }

  validation {
    condition     = alltrue([for route in var.routes : route.prices == null || try(route.prices.input_per_million_tokens >= 0 && route.prices.output_per_million_tokens >= 0, false)])
    error_message = "The prices of a route are two numbers from 0 on: write prices = { input_per_million_tokens = 0.4, output_per_million_tokens = 2 }, or leave them out, in ${join(", ", [for name, route in var.routes : "routes[\"${name}\"]" if !(route.prices == null || try(route.prices.input_per_million_tokens >= 0 && route.prices.output_per_million_tokens >= 0, false))])}."
  }

  validation {
    condition = alltrue(flatten([
      for route in var.routes : [
        for key, value in coalesce(route.tags, {}) :
        can(regex("^[a-zA-Z0-9\\s._:/=+@-]{1,128}$", key)) && can(regex("^[a-zA-Z0-9\\s._:/=+@-]{0,256}$", value))
      ]
    ]))
    error_message = "Bedrock takes only letters, digits, spaces and . _ : / = + @ - in tags, 1 to 128 in a key and up to 256 in a value: write the tags of the routes so."
  }
}

variable "max_active_jobs" {
  description = "How many jobs of a route may be active at once, where the route has no maximum or quota_code of its own. At most the quota \"Sum of in-progress and submitted batch inference jobs\" of the model."
  type        = number
  default     = 10
  nullable    = false

  validation {
    condition     = var.max_active_jobs >= 1 && floor(var.max_active_jobs) == var.max_active_jobs
    error_message = "max_active_jobs is a whole number from 1 on, such as 10, the usual quota: write that, not ${var.max_active_jobs}."
  }
}

# Names and tags

variable "name" {
  description = "Begins the name of everything, so that several queues can be in one account: 3 to 30 lower-case letters, digits and single hyphens."
  type        = string
  default     = "br-batch-inference"
  nullable    = false

  validation {
    condition     = length(var.name) <= 30
    error_message = "The name \"${var.name}\" has ${length(var.name)} characters, but a function's name, which begins with it, has room for 30: write a shorter one, such as \"${trimsuffix(substr(var.name, 0, 30), "-")}\"."
  }

  validation {
    condition     = length(var.name) >= 3 && can(regex("^[a-z0-9]+(-[a-z0-9]+)*$", var.name))
    error_message = "The name begins bucket, table and function names: write at least 3 lower-case letters, digits and single hyphens between them, such as \"br-batch-inference\", not \"${var.name}\"."
  }
}

variable "tags" {
  description = "Tags for everything, the Bedrock jobs included, beside Queue = name."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition = alltrue([
      for key, value in var.tags :
      can(regex("^[a-zA-Z0-9\\s._:/=+@-]{1,128}$", key)) && can(regex("^[a-zA-Z0-9\\s._:/=+@-]{0,256}$", value)) && !startswith(lower(key), "aws:")
    ])
    error_message = "Bedrock's jobs take only letters, digits, spaces and . _ : / = + @ - in tags (1 to 128 in a key, up to 256 in a value), and no key that begins with aws: write the tags so."
  }
}

# The bucket

variable "bucket_name" {
  description = "Name of the bucket to make, or with create_bucket = false of the one to use; by default {name}-{account}-{region}."
  type        = string
  default     = null

  validation {
    condition     = var.bucket_name == null || can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", var.bucket_name))
    error_message = "bucket_name is the name alone, 3 to 63 lower-case letters, digits, hyphens and dots: write \"my-bucket\", not an ARN, a URI or a path."
  }
}

variable "create_bucket" {
  description = "Make the bucket. With false, the bucket bucket_name is used, and none of its settings but the notification is touched."
  type        = bool
  default     = true
  nullable    = false
}

variable "manage_bucket_notification" {
  description = "Set the bucket's notification. A bucket has only one, for all its users: with false you wire the output functions.create_batch_queue into yours."
  type        = bool
  default     = true
  nullable    = false
}

variable "input_prefix" {
  description = "Where uploads are taken from, with a slash at its end."
  type        = string
  default     = "to-process/"
  nullable    = false

  validation {
    condition     = can(regex("^([a-zA-Z0-9][a-zA-Z0-9_.-]*/)+$", var.input_prefix))
    error_message = "A prefix is one or more folders of letters, digits and _ . -, with a slash at its end and none at its beginning: write \"to-process/\", not \"${var.input_prefix}\"."
  }
}

variable "output_prefix" {
  description = "Where results are put, with a slash at its end."
  type        = string
  default     = "processed/"
  nullable    = false

  validation {
    condition     = can(regex("^([a-zA-Z0-9][a-zA-Z0-9_.-]*/)+$", var.output_prefix))
    error_message = "A prefix is one or more folders of letters, digits and _ . -, with a slash at its end and none at its beginning: write \"processed/\", not \"${var.output_prefix}\"."
  }

  validation {
    condition = alltrue([
      for pair in setproduct([var.input_prefix, var.output_prefix, "jobs/"], [var.input_prefix, var.output_prefix, "jobs/"]) :
      !startswith(pair[0], pair[1]) || pair[0] == pair[1]
    ]) && length(distinct([var.input_prefix, var.output_prefix, "jobs/"])) == 3
    error_message = "Uploads, results and the work area jobs/ need folders of their own, none within another: write something like input_prefix = \"to-process/\" and output_prefix = \"processed/\", not \"${var.input_prefix}\" and \"${var.output_prefix}\"."
  }
}

variable "work_retention_days" {
  description = "After how many days the work area jobs/ expires. A job may take 7 days, so 8 is the least."
  type        = number
  default     = 14
  nullable    = false

  validation {
    condition     = var.work_retention_days >= 8 && floor(var.work_retention_days) == var.work_retention_days
    error_message = "A Bedrock job may run for 7 days and must find its input until then: write work_retention_days as a whole number from 8 on, such as 14, not ${var.work_retention_days}."
  }
}

variable "force_destroy" {
  description = "Let terraform destroy delete the bucket with all uploads and results in it."
  type        = bool
  default     = false
  nullable    = false
}

# When and as whom

variable "schedule_expression" {
  description = "How often process_batch_jobs looks after the queue even when no event wakes it, as rate(…) or cron(…) in UTC."
  type        = string
  default     = "rate(15 minutes)"
  nullable    = false

  validation {
    condition = (
      can(regex("^rate\\((1 (minute|hour|day)|([2-9]|[1-9][0-9]+) (minutes|hours|days))\\)$", var.schedule_expression)) ||
      can(regex("^cron\\([0-9*,/-]+ [0-9*,/-]+ (\\? [0-9A-Za-z*,/-]+ [0-9A-Za-z*,/L#-]+|[0-9*,/LW-]+ [0-9A-Za-z*,/-]+ \\?) [0-9*,/-]+\\)$", var.schedule_expression))
    )
    error_message = "\"${var.schedule_expression}\" is not a schedule of EventBridge: write rate(15 minutes), rate(1 hour) (the unit singular after 1 only) or cron(0/15 * * * ? *), six fields with a ? for the day of the month or of the week."
  }
}

variable "sweep_schedule_expression" {
  description = "How often create_batch_queue looks for uploads whose S3 event was lost, as rate(…) or cron(…) in UTC; null for never. Each run takes in every .jsonl below input_prefix that has no row in the table and is an hour old, also what lay there before the queue did."
  type        = string
  default     = "rate(1 day)"

  validation {
    condition = var.sweep_schedule_expression == null ? true : (
      can(regex("^rate\\((1 (minute|hour|day)|([2-9]|[1-9][0-9]+) (minutes|hours|days))\\)$", var.sweep_schedule_expression)) ||
      can(regex("^cron\\([0-9*,/-]+ [0-9*,/-]+ (\\? [0-9A-Za-z*,/-]+ [0-9A-Za-z*,/L#-]+|[0-9*,/LW-]+ [0-9A-Za-z*,/-]+ \\?) [0-9*,/-]+\\)$", var.sweep_schedule_expression))
    )
    error_message = "\"${coalesce(var.sweep_schedule_expression, "null")}\" is not a schedule of EventBridge: write rate(1 day), rate(12 hours) (the unit singular after 1 only), cron(0 3 * * ? *), six fields with a ? for the day of the month or of the week, or null for no sweep."
  }
}

variable "role_arn" {
  description = "ARN of the service role for the Bedrock jobs; by default one is made. It must be known when Terraform plans."
  type        = string
  default     = null

  validation {
    condition     = var.role_arn == null || can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:role/.+$", var.role_arn))
    error_message = "role_arn is the ARN of an IAM role: write arn:aws:iam::123456789012:role/my-bedrock-role, or leave it out to have a role made."
  }
}

variable "permissions_boundary" {
  description = "ARN of the policy that bounds the permissions of all roles made here."
  type        = string
  default     = null

  validation {
    condition     = var.permissions_boundary == null || can(regex("^arn:aws[a-z-]*:iam::([0-9]{12}|aws):policy/.+$", var.permissions_boundary))
    error_message = "permissions_boundary is the ARN of an IAM policy: write arn:aws:iam::123456789012:policy/my-boundary, or leave it out."
  }
}

variable "role_path" {
  description = "Path of all roles made here."
  type        = string
  default     = "/"
  nullable    = false

  validation {
    condition     = can(regex("^/([!-~]+/)?$", var.role_path)) && length(var.role_path) <= 512
    error_message = "A role's path begins and ends with a slash: write \"/\" or \"/my-team/\", not \"${var.role_path}\"."
  }
}

# Encryption and network

variable "kms_key_arn" {
  description = "ARN of a customer managed KMS key for bucket, table, dead-letter queue, log groups and the functions' environment. Its policy must let in EventBridge and CloudWatch Logs: see docs/kms.md and examples/kms. By default S3, SQS and Logs use keys of their own and DynamoDB the key aws/dynamodb."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null || can(regex("^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[a-zA-Z0-9-]+$", var.kms_key_arn))
    error_message = "kms_key_arn is the ARN of a key, not its id or an alias: write arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab."
  }
}

variable "vpc" {
  description = "Subnets and security groups of the functions; by default they run outside any VPC. They need to reach S3, DynamoDB, Lambda and Bedrock from there, and Bedrock's runtime where a route is on_demand: see docs/vpc.md and examples/complete."
  type = object({
    subnet_ids         = list(string)
    security_group_ids = list(string)
  })
  default = null

  validation {
    condition = var.vpc == null ? true : (
      try(length(var.vpc.subnet_ids), 0) >= 1 && try(length(var.vpc.subnet_ids), 0) <= 16 &&
      alltrue([for id in coalesce(var.vpc.subnet_ids, []) : can(regex("^subnet-[0-9a-zA-Z]+$", id))])
    )
    error_message = "vpc.subnet_ids takes 1 to 16 ids: write [\"subnet-0123456789abcdef0\"], or leave vpc out to run the functions outside any VPC."
  }

  validation {
    condition = var.vpc == null ? true : (
      try(length(var.vpc.security_group_ids), 0) >= 1 && try(length(var.vpc.security_group_ids), 0) <= 5 &&
      alltrue([for id in coalesce(var.vpc.security_group_ids, []) : can(regex("^sg-[0-9a-zA-Z]+$", id))])
    )
    error_message = "vpc.security_group_ids takes 1 to 5 ids: write [\"sg-0123456789abcdef0\"], or leave vpc out to run the functions outside any VPC."
  }
}

variable "job_vpc" {
  description = "Subnets and security groups from which Bedrock's jobs reach the bucket; by default they do so without a VPC. A role given as role_arn needs the EC2 permissions for it: see docs/vpc.md."
  type = object({
    subnet_ids         = list(string)
    security_group_ids = list(string)
  })
  default = null

  validation {
    condition = var.job_vpc == null ? true : (
      try(length(var.job_vpc.subnet_ids), 0) >= 1 && try(length(var.job_vpc.subnet_ids), 0) <= 16 &&
      alltrue([for id in coalesce(var.job_vpc.subnet_ids, []) : can(regex("^subnet-[0-9a-zA-Z]+$", id))])
    )
    error_message = "job_vpc.subnet_ids takes 1 to 16 ids: write [\"subnet-0123456789abcdef0\"], or leave job_vpc out to run the jobs without a VPC."
  }

  validation {
    condition = var.job_vpc == null ? true : (
      try(length(var.job_vpc.security_group_ids), 0) >= 1 && try(length(var.job_vpc.security_group_ids), 0) <= 5 &&
      alltrue([for id in coalesce(var.job_vpc.security_group_ids, []) : can(regex("^sg-[0-9a-zA-Z]+$", id))])
    )
    error_message = "job_vpc.security_group_ids takes 1 to 5 ids: write [\"sg-0123456789abcdef0\"], or leave job_vpc out to run the jobs without a VPC."
  }
}

# The functions

variable "lambda_runtime" {
  description = "Lambda runtime of the functions, Python 3.11 or newer."
  type        = string
  default     = "python3.13"
  nullable    = false

  validation {
    condition     = can(regex("^python3\\.(1[1-9]|[2-9][0-9])$", var.lambda_runtime))
    error_message = "The functions are written for Python 3.11 and newer: write python3.13 (or python3.11, python3.12), not \"${var.lambda_runtime}\"."
  }
}

variable "lambda_memory_size" {
  description = "Memory of each function in MB. The default holds every line that a model takes (25 MB); less does for files without lines of several MB. More of it also is more CPU, which reads large uploads faster."
  type        = number
  default     = 1024
  nullable    = false

  validation {
    condition     = var.lambda_memory_size >= 256 && var.lambda_memory_size <= 10240 && floor(var.lambda_memory_size) == var.lambda_memory_size
    error_message = "lambda_memory_size is a whole number of MB from 256 (for files with short lines) to 10240 (what Lambda allows): write 1024, not ${var.lambda_memory_size}."
  }
}

variable "lambda_environment" {
  description = "More environment variables for the functions, such as AWS_ENDPOINT_URL_BEDROCK to reach Bedrock somewhere else."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for key in keys(var.lambda_environment) : can(regex("^[a-zA-Z][a-zA-Z0-9_]+$", key))])
    error_message = "The name of an environment variable is a letter, then letters, digits and _: write the keys of lambda_environment so."
  }

  validation {
    condition = length(setintersection(keys(var.lambda_environment), [
      "NAME", "TABLE", "BUCKET", "INPUT_PREFIX", "OUTPUT_PREFIX", "WORK_PREFIX", "KMS_KEY_ARN",
      "PROCESS_FUNCTION", "COLLECT_FUNCTION", "ROLE_ARN", "JOB_VPC",
    ])) == 0
    error_message = "The module itself sets NAME, TABLE, BUCKET, INPUT_PREFIX, OUTPUT_PREFIX, WORK_PREFIX, KMS_KEY_ARN, PROCESS_FUNCTION, COLLECT_FUNCTION, ROLE_ARN and JOB_VPC: write them not in lambda_environment but as the inputs that they come from."
  }
}

variable "lambda_layers" {
  description = "ARNs of up to five layer versions for the functions, such as one with a newer boto3."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = length(var.lambda_layers) <= 5 && alltrue([for arn in var.lambda_layers : can(regex("^arn:aws[a-z-]*:lambda:[a-z0-9-]+:[0-9]{12}:layer:[a-zA-Z0-9_-]+:[0-9]+$", arn))])
    error_message = "lambda_layers takes up to five ARNs of layer versions, with the version at the end: write [\"arn:aws:lambda:us-east-1:123456789012:layer:boto3:1\"]."
  }
}

# Watching and protecting it

variable "log_retention_days" {
  description = "For how many days the functions' logs are kept."
  type        = number
  default     = 365
  nullable    = false

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "CloudWatch Logs keeps logs for 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288 or 3653 days: write one of these as log_retention_days, not ${var.log_retention_days}."
  }
}

variable "alarm_actions" {
  description = "ARNs of what an alarm and its end are told to, such as an SNS topic."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for arn in var.alarm_actions : can(regex("^arn:aws[a-z-]*:", arn))])
    error_message = "alarm_actions takes ARNs: write [\"arn:aws:sns:us-east-1:123456789012:my-topic\"]."
  }
}

variable "pending_age_alarm_hours" {
  description = "After how many hours in the queue an upload raises the alarm oldest_pending."
  type        = number
  default     = 24
  nullable    = false

  validation {
    condition     = var.pending_age_alarm_hours > 0
    error_message = "pending_age_alarm_hours is a number above 0, such as 24: write that, not ${var.pending_age_alarm_hours}."
  }
}

variable "deletion_protection" {
  description = "Protect the table against deletion, also by terraform destroy."
  type        = bool
  default     = false
  nullable    = false
}
