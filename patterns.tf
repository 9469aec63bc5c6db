# What validations share. These values depend on no input: a validation may refer to no others.

locals {
  # As Bedrock's API reference has it for CreateModelInvocationJob.
  plain_model = "[a-z0-9-]{1,63}\\.[a-z0-9-]{1,63}(\\.[a-z0-9-]{1,63})?(:[a-z0-9-]{1,63}){0,2}"

  patterns = {
    model_id = join("|", [
      "^${local.plain_model}$",
      "^arn:aws[a-z-]*:bedrock:[a-z0-9-]+::foundation-model/${local.plain_model}$",
      join("", [
        "^arn:aws[a-z-]*:bedrock:[a-z0-9-]+:[0-9]{12}:",
        "((application-)?inference-profile|custom-model|provisioned-model)/[a-zA-Z0-9./:-]+$",
      ]),
    ])
    bucket = "^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$"
    schedule = join("|", [
      "^rate\\((1 (minute|hour|day)|([2-9]|[1-9][0-9]+) (minutes|hours|days))\\)$",
      join(" ", [
        "^cron\\([0-9*,/-]+ [0-9*,/-]+",
        "(\\? [0-9A-Za-z*,/-]+ [0-9A-Za-z*,/L#-]+|[0-9*,/LW-]+ [0-9A-Za-z*,/-]+ \\?) [0-9*,/-]+\\)$",
      ]),
    ])
    prefix     = "^([a-zA-Z0-9][a-zA-Z0-9_.-]*/)+$"
    quota_code = "^L-[0-9A-F]{8}$"
    route      = "^[a-zA-Z0-9!_.*'()-]{1,64}$"
    role_arn   = "^arn:aws[a-z-]*:iam::[0-9]{12}:role/.+$"
    policy_arn = "^arn:aws[a-z-]*:iam::([0-9]{12}|aws):policy/.+$"
    key_arn    = "^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[a-zA-Z0-9-]+$"
    layer_arn  = "^arn:aws[a-z-]*:lambda:[a-z0-9-]+:[0-9]{12}:layer:[a-zA-Z0-9_-]+:[0-9]+$"
    bus_arn    = "^arn:aws[a-z-]*:events:[a-z0-9-]+:[0-9]{12}:event-bus/[a-zA-Z0-9/._-]{1,256}$"
    topic_arn  = "^arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[a-zA-Z0-9_-]{1,256}$"
    tag_key    = "^[a-zA-Z0-9\\s._:/=+@-]{1,128}$"
    tag_value  = "^[a-zA-Z0-9\\s._:/=+@-]{0,256}$"
  }

  # What S3 does not allow in the name of a bucket, by its words for it.
  no_bucket_names = {
    "have two dots in a row"     = "\\.\\."
    "be an IP address"           = "^[0-9]+(\\.[0-9]+){3}$"
    "begin with xn--"            = "^xn--"
    "begin with sthree-"         = "^sthree-"
    "begin with amzn-s3-demo-"   = "^amzn-s3-demo-"
    "end with -s3alias"          = "-s3alias$"
    "end with .mrap"             = "\\.mrap$"
    "end with --ol-s3 or --x-s3" = "--(ol|x)-s3$"
    "end with --table-s3"        = "--table-s3$"
  }

  network_ids = {
    subnet_ids         = { pattern = "^subnet-[0-9a-zA-Z]+$", most = 16 }
    security_group_ids = { pattern = "^sg-[0-9a-zA-Z]+$", most = 5 }
  }

  log_retention_days = [
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653,
  ]

  # By function: the smallest concurrency with which it does its work.
  least_concurrency = { create_batch_queue = 1, process_batch_jobs = 2, collect_results = 1, operate_queue = 1, publish_events = 1 }

  # What the module sets in the functions' environment.
  own_environment = [
    "NAME", "TABLE", "BUCKET", "INPUT_PREFIX", "OUTPUT_PREFIX", "WORK_PREFIX", "MEDIA_PREFIXES", "BUCKET_OWNER",
    "KMS_KEY_ARN", "LOG_LEVEL", "ROW_RETENTION_DAYS", "CREATE_FUNCTION", "PROCESS_FUNCTION", "COLLECT_FUNCTION",
    "OPERATE_FUNCTION", "ROLE_ARN", "JOB_VPC", "EVENT_BUS_ARN", "NOTIFICATION_TOPIC_ARN", "NOTIFY_ON",
  ]

  # What Lambda sets there: "Defined runtime environment variables" in its Developer Guide. Two more begin with an
  # underscore, which Lambda allows in no name of a user's.
  lambda_environment = [
    "AWS_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "AWS_DEFAULT_REGION", "AWS_EXECUTION_ENV", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_VERSION", "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME", "AWS_LAMBDA_RUNTIME_API", "AWS_REGION",
    "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "LAMBDA_RUNTIME_DIR", "LAMBDA_TASK_ROOT",
  ]

  # What error messages say to write instead.
  advice = {
    for name, text in {
      name        = <<-EOT
        write 3 to 30 lowercase letters, digits and single hyphens between them, such as "br-batch-inference". The name
        of a function, which begins with it, has no room for more.
      EOT
      model_id    = <<-EOT
        write a model ID such as amazon.nova-lite-v1:0, an inference profile such as
        global.anthropic.claude-haiku-4-5-20251001-v1:0, or an ARN arn:aws:bedrock:…:foundation-model/…,
        inference-profile/…, application-inference-profile/… or custom-model/…. An ID has one or two dots: give a
        profile whose ID has more by its ARN.
      EOT
      provisioned = <<-EOT
        batch inference does not run on provisioned throughput: write the ID of the model itself, such as
        anthropic.claude-haiku-4-5-20251001-v1:0.
      EOT
      prefix      = <<-EOT
        write folders of letters, digits and _ . -, with a slash at the end and none at the start, such as "files/in/".
      EOT
      folders     = <<-EOT
        write three separate folders, such as "to-process/", "processed/" and "jobs/". None may be or contain another.
      EOT
      media       = <<-EOT
        write one or more folders of letters, digits and _ . -, each with a slash at the end and none at the start, such
        as ["pictures/", "films/2026/"]. None may be, contain or be within output_prefix or work_prefix.
      EOT
      lifecycle   = <<-EOT
        is for a bucket that the module creates, but create_bucket is false: add a rule to the lifecycle configuration
        of the bucket, in the configuration that owns it, and leave the input out.
      EOT
      schedule    = <<-EOT
        write rate(15 minutes), rate(1 day) (the unit is singular after 1 only) or cron(0/15 * * * ? *), which has six
        fields, with a ? for either the day of the month or the day of the week.
      EOT
      tags        = <<-EOT
        write 1 to 128 letters, digits, spaces and . _ : / = + @ - in a key, which must not begin with aws:, and up to
        256 of them in a value. Bedrock's jobs accept nothing else.
      EOT
      concurrency = <<-EOT
        write whole numbers by function, such as { create_batch_queue = 50, process_batch_jobs = 2 }: 1 or more, and 2 or more for process_batch_jobs. With 0, Lambda would send every event to the dead-letter
        queue. Leave a function out to reserve nothing for it.
      EOT
      key_arn     = <<-EOT
        write the ARN of a key, not its ID or an alias, such as
        arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab.
      EOT
      network     = <<-EOT
        write 1 to 16 subnet_ids such as "subnet-0123456789abcdef0" and 1 to 5 security_group_ids such as
        "sg-0123456789abcdef0", or leave it out to use no VPC.
      EOT
    } : name => join(" ", split("\n", trimspace(text)))
  }
}
